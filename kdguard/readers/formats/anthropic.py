"""Anthropic Messages request-response pairs; streamed responses may be lists of events.

Account: ``account_id`` or ``user`` beside the pair, else ``metadata.user_id`` in the body (opaque, and
optional). Session: ``session_id`` beside the pair. Organisation and workspace stand only in administrators'
exports. The API returns no log-probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator

from kdguard.readers.dialects.content import at, unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.formats.openai import ENVELOPE
from kdguard.readers.reader import JsonReader, Record, Row, pick

_PROFILE = ("headers.anthropic-user-profile-id", "request_headers.anthropic-user-profile-id")
_ENVELOPE = ENVELOPE | {"account_id": (*ENVELOPE["account_id"], *_PROFILE)}


def _match(record: Record) -> bool:
    request, response = unwrapped(record.get("request")), unwrapped(record.get("response"))
    if not isinstance(request, dict) or "messages" not in request:
        return False
    if isinstance(response, list):
        return any(at(event, "type") == "message_start" for event in response)
    return bool(at(response, "type") == "message")


def _pairs(record: Record) -> Iterator[Row]:
    row = {"endpoint": "messages"} | pick(record, _ENVELOPE)
    return exchanges(record.get("request"), record.get("response"), row)


READER = JsonReader(
    name="anthropic", about="Anthropic Messages request-response pairs", match=_match, exchanges=_pairs
)
