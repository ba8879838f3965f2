"""Rows that wait to become a batch, and the account of which files have given a good one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

import pyarrow as pa

from kdguard.errors import LogError
from kdguard.readers import columns
from kdguard.readers.dialects.content import at
from kdguard.readers.reader import Reader, Record, Row, digest
from kdguard.readers.rejects import Rejects, Unfit
from kdguard.readers.sources import Source

FLUSH_BYTES = 16 << 20  # of source text behind the rows of one batch
# What a record of an unexpected shape makes a reader raise; nothing in a log may stop the run.
SHAPE_ERRORS = (AttributeError, IndexError, KeyError, TypeError, ValueError, OverflowError, RecursionError)


# A record without any of these is no exchange: a gateway's own messages in the same file, for instance.
_TELLING = frozenset({"prompt", "messages", "response", "account_id", "key_hash", "model", "label"})
_TELLING |= {"input_tokens", "output_tokens", "tool_calls", "reasoning", "refused", "system"}


class Place(NamedTuple):
    """Where a row came from."""

    source: Source
    line: int
    size_bytes: int


_modified_s = lru_cache(maxsize=64)(Source.modified_s)


@dataclass(slots=True)
class Pending:
    """Rows on their way into batches.

    Attributes:
        rejects: Receives what cannot be read.
        batch_rows: Most rows of a batch.
        account: As for `kdguard.readers.read`.
        time: Likewise.
        unproven: Files not yet seen to hold a good row.
        total: Good rows so far.
    """

    rejects: Rejects
    batch_rows: int
    account: str | None
    time: str | None
    unproven: set[str] = field(default_factory=set)
    total: int = 0
    _rows: list[Row] = field(default_factory=list)
    _places: list[Place] = field(default_factory=list)
    _bytes: int = 0
    _latest: Place | None = None

    def take(self, record: Record, reader: Reader, place: Place) -> bool:
        """Turn one record into rows, or reject it; True once there is enough for a batch."""
        try:
            rows = [row for row in reader.to_exchanges(record) if not _TELLING.isdisjoint(row)]
            identity = ""
            for position, row in enumerate(rows):
                if row.get("request_id") in (None, ""):
                    identity = identity or digest(record)
                    row["request_id"] = identity
                if position and row.get("choice") is None:
                    row["choice"] = position
                if self.account is not None or self.time is not None:
                    self._override(row, record, place)
        except SHAPE_ERRORS as error:
            self.reject(place, error, reader.name)
            return False
        if not rows:
            self.rejects.skipped += 1
            self.unproven.discard(place.source.name)  # it was read, and is of another kind
        self._rows += rows
        again, self._latest = place is self._latest, place  # one document can hold many records
        self._places += [place] * len(rows)
        self._bytes += place.size_bytes * (len(rows) - again)
        return len(self._rows) >= self.batch_rows or self._bytes >= FLUSH_BYTES

    def reject(self, place: Place, error: Exception, format_name: str) -> None:
        """Count and name a record that cannot be read."""
        if not isinstance(error, Unfit):
            rule = f"a record must have the shape of format '{format_name}'"
            error = Unfit(rule, f"a part of another type ({type(error).__name__})")
        self.rejects.add(place.source.name, place.line, error, size_bytes=place.size_bytes)

    def flush(self, format_name: str) -> Iterator[pa.RecordBatch]:
        """Build and yield what has gathered."""
        for start in range(0, len(self._rows), self.batch_rows):
            rows = self._rows[start : start + self.batch_rows]
            places = self._places[start : start + self.batch_rows]
            batch, bad = columns.build(rows, format_name)
            told: set[Place] = set()
            for position in sorted(bad):
                if places[position] not in told:
                    told.add(places[position])
                    self.reject(places[position], bad[position], format_name)
            good = Counter(place.source.name for at, place in enumerate(places) if at not in bad)
            self.unproven -= good.keys()
            for name, count in good.items():
                self.rejects.of(name).exchanges += count
            if batch.num_rows:
                self.total += batch.num_rows
                yield batch
        self._rows, self._places, self._bytes = [], [], 0

    def settle(self, source: Source) -> None:
        """At the end of a file.

        Raises:
            LogError: The file gave nothing, and nothing of it is waiting.
        """
        waiting = any(place.source.name == source.name for place in reversed(self._places))
        if source.name in self.unproven and not waiting:
            raise self.unreadable(source.name)

    def unreadable(self, name: str) -> LogError:
        """The error for a file of which no line could be read."""
        said = next((m for m in self.rejects.messages(1000) if m.startswith(f"{name}:")), None)
        return LogError(f"{name}: no line could be read" + (f"; for instance {said}" if said else ""))

    def _override(self, row: Row, record: Record, place: Place) -> None:
        account, time = row.get("account_id"), row.get("time")
        if self.account is not None:
            account = self.account[1:] if self.account.startswith("=") else at(record, self.account)
        if self.time is not None:
            time = _modified_s(place.source) if self.time == "file" else at(record, self.time)
        row["account_id"], row["time"] = account, time
