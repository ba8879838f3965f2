"""Kong AI Gateway logs (file, HTTP, Kafka): one object a line, or a JSON array a batch.

Payloads are there only with ``log_payloads``, as text; without them rows are ``content_missing``. Requests
that did not pass an AI plugin are passed over.

Account: ``consumer.custom_id``, else ``consumer.id``, ``consumer.username``, else
``authenticated_entity.id`` (one credential). Organisation: ``workspace_name``, else ``workspace``. Session:
the header ``x-session-id``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kdguard.readers.dialects.content import at, unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JsonReader, Record, Row, pick

_PATHS: dict[str, tuple[str, ...]] = {
    "request_id": ("request.id",),
    "time": ("started_at",),
    "account_id": ("consumer.custom_id", "consumer.id", "consumer.username", "authenticated_entity.id"),
    "org_id": ("workspace_name", "workspace"),
    "key_hash": ("authenticated_entity.id",),
    "session_id": ("request.headers.x-session-id",),
    "client_ip": ("client_ip",),
    "user_agent": ("request.headers.user-agent", "request.headers.User-Agent"),
    "tls_fingerprint": ("request.headers.x-ja4", "request.headers.x-ja3"),
    "endpoint": ("request.uri", "upstream_uri"),
    "status": ("response.status", "upstream_status"),
    "latency_ms": ("latencies.request",),
    "model": ("call.meta.request_model", "call.meta.response_model"),
    "input_tokens": ("call.usage.prompt_tokens",),
    "output_tokens": ("call.usage.completion_tokens",),
}


def _call(record: Record) -> dict[str, Any] | None:
    """The block of the AI plugin: ``ai.proxy``, in older versions named after the plugin."""
    block = record.get("ai")
    if not isinstance(block, dict):
        return None
    named = block.get("proxy")
    candidates = [named] if isinstance(named, dict) else list(block.values())
    return next((c for c in candidates if isinstance(c, dict) and ("meta" in c or "usage" in c)), None)


def _match(record: Record) -> bool:
    return isinstance(at(record, "request.uri"), str) and ("latencies" in record or "ai" in record)


def _exchanges(record: Record) -> Iterator[Row]:
    call = _call(record)
    if call is None:
        return iter(())
    row = pick(record | {"call": call}, _PATHS)
    payload = unwrapped(call.get("payload"))
    return exchanges(at(payload, "request"), at(payload, "response"), row)


READER = JsonReader(name="kong", about="Kong AI Gateway logs", match=_match, exchanges=_exchanges)
