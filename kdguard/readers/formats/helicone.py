"""Helicone request exports.

Account: ``request_user_id`` or ``helicone_user``, else ``auth_hash`` (one key), else ``org_id``. Session:
the property ``Helicone-Session-Id``. The country is not read: it is never a feature.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kdguard.readers.dialects.content import unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JsonReader, Record, Row, pick

_PATHS: dict[str, tuple[str, ...]] = {
    "request_id": ("request_id",),
    "time": ("request_created_at",),
    "account_id": ("request_user_id", "helicone_user", "user_id", "auth_hash", "org_id"),
    "org_id": ("org_id", "organization_id"),
    "key_hash": ("auth_hash",),
    "session_id": ("request_properties.Helicone-Session-Id", "properties.Helicone-Session-Id"),
    "model": ("request_model", "model", "response_model"),
    "endpoint": ("request_path", "target_url"),
    "status": ("response_status",),
    "input_tokens": ("prompt_tokens",),
    "output_tokens": ("completion_tokens",),
    "latency_ms": ("delay_ms",),
}


def _match(record: Record) -> bool:
    return "request_created_at" in record or ("helicone_user" in record and "request_body" in record)


def _records(document: Record) -> Iterable[Record]:
    inside = document.get("data")
    return [entry for entry in inside if isinstance(entry, dict)] if isinstance(inside, list) else (document,)


def _exchanges(record: Record) -> Iterator[Row]:
    nested = ("request_properties", "properties")
    row = pick(record | {name: unwrapped(record.get(name)) for name in nested}, _PATHS)
    if str(row.get("status", "")).startswith("-"):  # Helicone's own marks: cancelled, pending, threat
        del row["status"]
    return exchanges(record.get("request_body"), record.get("response_body"), row)


READER = JsonReader(
    name="helicone",
    about="Helicone request exports",
    match=lambda record: any(map(_match, _records(record))),
    exchanges=_exchanges,
    explode=_records,
)
