"""Flat JSONL, the format of least effort: one object a line, its fields named as the exchange columns.

Every column of the exchange schema is understood, the rest is ignored; ``tools`` may be just true, and
``messages`` stands in for ``prompt`` and ``system`` where those are absent.

Account: ``account_id``; there is no fallback. Session: ``session_id``.
"""

from __future__ import annotations

from collections.abc import Iterable

from kdguard.exchanges.schema import EXCHANGES
from kdguard.readers.dialects.content import conversation, last_user_turn, system_text
from kdguard.readers.reader import JsonReader, Record, Row

_KNOWN = frozenset(EXCHANGES.names)
_TELLING = frozenset({"prompt", "account_id", "response", "messages", "input_tokens"})


def _match(record: Record) -> bool:
    fields = set(record)
    nested = isinstance(record.get("response"), dict)
    return not nested and len(fields & _KNOWN) >= 2 and bool(fields & _TELLING)


def _exchanges(record: Record) -> Iterable[Row]:
    turns = record.get("messages")
    if turns and record.get("prompt") is None and isinstance(turns, list):
        spoken = conversation(turns)
        row = record | {"messages": spoken, "prompt": last_user_turn(spoken)}
        if record.get("system") is None:
            row["system"] = system_text(spoken)
        return (row,)
    return (record,)


READER = JsonReader(
    name="jsonl", about="flat JSONL, fields named as our columns", match=_match, exchanges=_exchanges
)
