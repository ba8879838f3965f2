"""OpenAI request-response pairs (chat, completions, Responses) and stored completions.

A pair is ``{"request": {...}, "response": {...}}`` with the time as ``ts``, ``time``, ``timestamp`` or
``created`` inside the response. A stored completion is the chat completion itself, with the ``messages``
that an export put beside it, else its content is missing. Both are a legitimate channel for distilling
one's own model.

Account: ``account_id`` or ``user`` beside the pair, else ``safety_identifier``, ``user`` or
``metadata.user_id`` in the body. Session: ``conversation.id``, else ``previous_response_id``. Organisation
and key are only in headers.
"""

from __future__ import annotations

from collections.abc import Iterator

from kdguard.readers.dialects.content import at, first, unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JsonReader, Record, Row, pick

# What people write beside the two bodies.
ENVELOPE: dict[str, tuple[str, ...]] = {
    "request_id": ("request_id", "requestId"),
    "time": ("ts", "time", "timestamp", "created_at", "created"),
    "account_id": ("account_id", "user_id", "user", "account"),
    "org_id": (
        "org_id",
        "organization",
        "headers.openai-organization",
        "request_headers.openai-organization",
    ),
    "key_hash": ("key_hash", "api_key_hash"),
    "session_id": ("session_id",),
    "client_ip": ("client_ip", "ip", "remote_addr"),
    "user_agent": ("user_agent", "headers.user-agent", "request_headers.user-agent"),
    "tls_fingerprint": ("tls_fingerprint", "ja4", "ja3"),
    "endpoint": ("endpoint", "url", "path"),
    "status": ("status_code", "response.status_code"),
    "latency_ms": ("latency_ms", "duration_ms"),
}
_ENDPOINTS = {
    "chat.completion": "chat.completions",
    "text_completion": "completions",
    "response": "responses",
}


def _match(record: Record) -> bool:
    request, response = unwrapped(record.get("request")), unwrapped(record.get("response"))
    asked = isinstance(request, dict) and any(key in request for key in ("messages", "input", "prompt"))
    return asked and (isinstance(response, dict | list) or response is None)


def _pairs(record: Record) -> Iterator[Row]:
    row = pick(record, ENVELOPE)
    response = unwrapped(record.get("response"))
    kind = at(response, "object")
    if "endpoint" not in row and isinstance(kind, str):
        row["endpoint"] = _ENDPOINTS.get(kind, kind)
    return exchanges(record.get("request"), response, row)


def _is_stored(record: Record) -> bool:
    whole = record.get("object") in ("chat.completion", "response")
    return whole and ("choices" in record or "output" in record)


def _stored(record: Record) -> Iterator[Row]:
    turns = first(record, "messages", "input_messages", "input")
    request = {key: value for key, value in record.items() if key not in ("choices", "output", "id")}
    kind = record.get("object")
    row: Row = {"endpoint": _ENDPOINTS.get(str(kind))}
    if isinstance(turns, dict):  # the list object of the messages endpoint
        request["messages"] = turns.get("data")
    elif turns is not None:
        request["messages"] = turns
    return exchanges(request, record, row)


READER = JsonReader(
    name="openai", about="OpenAI request-response pairs, chat and Responses", match=_match, exchanges=_pairs
)
STORED = JsonReader(
    name="openai-stored", about="OpenAI stored completions", match=_is_stored, exchanges=_stored
)
