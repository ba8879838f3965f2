"""Glasswally's JSONL events, a labelled public format; the label is not read.

The log has prompts and no responses. ``token_count`` is read as tokens in, since no response is logged.

Account: ``account_id``; there is no fallback. Session: none.
"""

from __future__ import annotations

from collections.abc import Iterator

from kdguard.readers.reader import JsonReader, Record, Row, pick

_PATHS: dict[str, tuple[str, ...]] = {
    "request_id": ("request_id", "event_id"),
    "time": ("timestamp",),
    "account_id": ("account_id",),
    "client_ip": ("client_ip",),
    "user_agent": ("user_agent",),
    "tls_fingerprint": ("ja4", "ja3", "h2_settings_fp"),
    "model": ("model",),
    "system": ("system_prompt",),
    "prompt": ("prompt",),
    "input_tokens": ("token_count",),
    "max_tokens": ("max_tokens",),
}
_TELLING = ("system_prompt_hash", "h2_settings_fp", "campaign_label", "asn_org")


def _match(record: Record) -> bool:
    return "account_id" in record and "prompt" in record and any(key in record for key in _TELLING)


def _exchanges(record: Record) -> Iterator[Row]:
    yield pick(record, _PATHS)


READER = JsonReader(name="glasswally", about="Glasswally JSONL", match=_match, exchanges=_exchanges)
