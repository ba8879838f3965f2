"""LiteLLM: StandardLoggingPayload (callbacks, S3, GCS) and rows of the SpendLogs table.

Some sinks cut content at 10,000 characters and say so in the text: the exchange is then ``truncated``.
Content redacted by the proxy, and the ``{}`` that SpendLogs holds by default, is ``content_missing``.

Account: ``user_api_key_user_id``, else ``user``, else the key hash, else team, else ``end_user``; with
``redact_user_api_key_info`` only ``end_user`` remains. Organisation: ``user_api_key_org_id``. Session:
``session_id``, else ``trace_id``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdguard.readers.cells import moment
from kdguard.readers.dialects.content import at, first, unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JsonReader, Record, Row, pick
from kdguard.readers.rejects import Unfit

_CUT = re.compile(r"truncated by litellm|litellm_truncated", re.IGNORECASE)
_REDACTED = "redacted-by-litellm"
_PATHS: dict[str, tuple[str, ...]] = {
    "request_id": ("id", "request_id", "litellm_call_id"),
    "time": ("startTime",),
    "account_id": (
        "metadata.user_api_key_user_id",
        "user",
        "metadata.user_api_key_hash",
        "api_key",
        "metadata.user_api_key_team_id",
        "team_id",
        "end_user",
    ),
    "org_id": ("metadata.user_api_key_org_id", "organization_id", "metadata.user_api_key_team_id", "team_id"),
    "key_hash": ("metadata.user_api_key_hash", "api_key"),
    "session_id": ("session_id", "trace_id"),
    "client_ip": ("requester_ip_address", "metadata.requester_ip_address"),
    "user_agent": ("user_agent", "metadata.user_agent"),
    "tls_fingerprint": (
        "metadata.requester_custom_headers.x-ja4",
        "metadata.requester_custom_headers.x-ja3",
    ),
    "model": ("model", "model_group"),
    "endpoint": ("call_type",),
    "status": ("error_information.error_code", "metadata.error_information.error_code"),
    "input_tokens": ("prompt_tokens",),
    "output_tokens": ("completion_tokens",),
    "latency_ms": ("request_duration_ms",),
}


def _match(record: Record) -> bool:
    return "startTime" in record and "call_type" in record


def _latency_ms(record: Record) -> float | None:
    try:
        started, ended = (moment(name, record[name]) for name in ("startTime", "endTime"))
    except (KeyError, Unfit):
        return None
    return max(0.0, (ended - started) / 1000)


def _exchanges(record: Record) -> Iterator[Row]:
    opened = record | {name: unwrapped(record.get(name)) for name in ("metadata", "error_information")}
    row = pick(opened, _PATHS)
    row.setdefault("latency_ms", _latency_ms(record))
    if at(opened, "status") == "success":
        row["status"] = 200
    elif not str(row.get("status", "")).isdigit():
        row.pop("status", None)
    asked = unwrapped(record.get("messages"))
    if not asked:
        asked = at(unwrapped(record.get("proxy_server_request")), "messages")
    request = dict(first(opened, "model_parameters", "metadata.model_parameters") or {})
    if isinstance(asked, str | list) and asked:
        request["messages"] = asked
    request.pop("user", None)  # an end user, who stands in end_user as well
    response = unwrapped(record.get("response"))
    for choice in exchanges(request, response or None, row):
        yield _honest(choice)


def _honest(row: Row) -> Row:
    texts = [row.get(name) for name in ("prompt", "system", "response")]
    texts += [turn["content"] for turn in row.get("messages") or ()]
    said = [text for text in texts if isinstance(text, str)]
    if any(_CUT.search(text[-200:]) or "litellm_truncated" in text for text in said):
        row["truncated"] = True
    if any(text.strip() == _REDACTED for text in said):
        hidden = ("prompt", "system", "response", "messages")
        row = {name: value for name, value in row.items() if name not in hidden}
    return row


READER = JsonReader(
    name="litellm", about="LiteLLM payloads and spend logs", match=_match, exchanges=_exchanges
)
