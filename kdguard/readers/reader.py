"""What a reader of one wire format is: a few pure functions on decoded records.

Files, compression, lines, JSON, cells and batches are the business of `stream`; a format says only how its
records are recognised and how one of them becomes exchanges.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Protocol, runtime_checkable

import orjson

from kdguard.readers.dialects.content import at
from kdguard.readers.rejects import DEEP, Unfit

Record = dict[str, Any]
Row = dict[str, Any]


@runtime_checkable
class Reader(Protocol):
    """One wire format.

    A reader that needs several records to make one exchange also has a ``key``: records of equal key are
    gathered on disk, however far apart they stand, and handed to ``join`` in the order they were read.
    """

    @property
    def name(self) -> str:
        """Name of the format, as given to ``--format``."""

    @property
    def about(self) -> str:
        """One line for the help text."""

    def matches(self, record: Record) -> bool:
        """Whether a record looks like this format; used by sniffing, cheap and free of errors."""

    def records(self, document: Record) -> Iterable[Record]:
        """Take apart a document that holds many records; most formats hold one."""

    def to_exchanges(self, record: Record) -> Iterable[Row]:
        """Make one row of raw values for each choice; no row if the record is of another kind.

        Raises:
            Unfit: The record must not be read; anything else that goes wrong counts as such too.
        """


@runtime_checkable
class Joiner(Reader, Protocol):
    """A wire format whose exchanges are spread over several records."""

    def key(self, record: Record) -> str | None:
        """What records of one exchange have in common; None for records of another kind."""

    def join(self, parts: list[Record]) -> Iterator[Record]:
        """Combine the records of one key into whole records for ``to_exchanges``."""


def _itself(document: Record) -> Iterable[Record]:
    return (document,)


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonReader:
    """A reader made of functions."""

    name: str
    about: str
    match: Callable[[Record], bool]
    exchanges: Callable[[Record], Iterable[Row]]
    explode: Callable[[Record], Iterable[Record]] = _itself

    def matches(self, record: Record) -> bool:
        """See `Reader.matches`."""
        return self.match(record)

    def records(self, document: Record) -> Iterable[Record]:
        """See `Reader.records`."""
        return self.explode(document)

    def to_exchanges(self, record: Record) -> Iterable[Row]:
        """See `Reader.to_exchanges`."""
        return self.exchanges(record)


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinReader(JsonReader):
    """A reader made of functions, for formats whose exchanges are spread over several records."""

    shared_key: Callable[[Record], str | None]
    combine: Callable[[list[Record]], Iterator[Record]]

    def key(self, record: Record) -> str | None:
        """See `Joiner.key`."""
        return self.shared_key(record)

    def join(self, parts: list[Record]) -> Iterator[Record]:
        """See `Joiner.join`."""
        return self.combine(parts)


def has(*paths: str) -> Callable[[Record], bool]:
    """A test that all dotted paths lead to something."""
    return lambda record: all(at(record, path) is not None for path in paths)


def pick(record: Record, table: Mapping[str, tuple[str, ...]]) -> Row:
    """Read columns by a table of dotted paths; the first path that leads to something wins."""
    row: Row = {}
    for column, paths in table.items():
        for path in paths:
            found = at(record, path) if "." in path else record.get(path)
            if found is not None and found != "":
                row[column] = found
                break
    return row


def digest(record: Any) -> str:
    """A request id for a record that has none: blake2b over its canonical JSON (sorted keys).

    It depends on the content alone, so reading again, or from files cut otherwise, gives the same id; two
    records that are equal in every field count as one request that was logged twice.
    """
    try:
        canonical = orjson.dumps(record, option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS, default=repr)
    except TypeError:
        raise Unfit(DEEP, "deeper") from None
    return "b2-" + blake2b(canonical, digest_size=16).hexdigest()
