"""Flat JSONL, the format of least effort: one object a line, its fields named as the exchange columns.

Every column of the exchange schema is understood, the rest is ignored; ``tools`` may be just true, and
``messages`` stands in for ``prompt`` and ``system`` where those are absent.

Account: ``account_id``; there is no fallback. Session: ``session_id``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from kdguard.exchanges.schema import ACCOUNTS, EXCHANGES
from kdguard.readers.dialects.content import conversation, last_user_turn, system_text
from kdguard.readers.reader import JsonReader, Record, Row

_KNOWN = frozenset(EXCHANGES.names)
_TELLING = frozenset({"prompt", "account_id", "response", "messages", "input_tokens"})


_OF_ACCOUNTS = frozenset(ACCOUNTS.names) - _KNOWN
_OF_CALLS = _KNOWN - set(ACCOUNTS.names)


def is_accounts(names: Collection[str]) -> bool:
    """Whether columns are those of an accounts table: none of them is of a call."""
    told = frozenset(names)
    return "account_id" in told and not _OF_ACCOUNTS.isdisjoint(told) and _OF_CALLS.isdisjoint(told)


def _match(record: Record) -> bool:
    fields = set(record)
    nested = isinstance(record.get("response"), dict)
    known = len(fields & _KNOWN) >= 2 and bool(fields & _TELLING)
    return known and not nested and not is_accounts(fields)


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
