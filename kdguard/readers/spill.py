"""Records that wait on disk for the rest of their exchange.

A temporary SQLite file holds them, so memory stays flat however far apart the parts of an exchange stand.
Groups come back in the order of their key, parts in the order they were read: which file came first changes
nothing but the order of the parts.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import NamedTuple

import orjson

from kdguard.readers.reader import Record
from kdguard.readers.rejects import DEEP, Unfit

_TABLE = "CREATE TABLE parts (key TEXT, seq INTEGER, file TEXT, line INTEGER, size INTEGER, record BLOB)"
MAX_PARTS = 4096  # of one key; far above what any format splits a message into


class Group(NamedTuple):
    """Records of one key.

    Attributes:
        file, line: Where the first stands.
        size_bytes: Size of all.
        parts: The records in the order they were read.
        more: Records beyond `MAX_PARTS`, left out.
    """

    file: str
    line: int
    size_bytes: int
    parts: list[Record]
    more: int


class Spill:
    """A temporary store of records by key."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kdguard-")
        self._db = sqlite3.connect(Path(self._folder.name) / "parts.sqlite", isolation_level=None)
        for pragma in ("journal_mode=OFF", "synchronous=OFF", "temp_store=FILE", "cache_size=-16384"):
            self._db.execute(f"PRAGMA {pragma}")
        self._db.execute(_TABLE)
        self._db.execute("BEGIN")
        self._count = 0

    def add(self, key: str, file: str, line: int, size_bytes: int, record: Record) -> None:
        """Store one record under its key.

        Raises:
            Unfit: The record is nested too deeply.
        """
        self._count += 1
        try:
            blob = orjson.dumps(record, option=orjson.OPT_NON_STR_KEYS, default=str)
        except TypeError:
            raise Unfit(DEEP, "deeper") from None
        values = (key, self._count, file, line, size_bytes, blob)
        self._db.execute("INSERT INTO parts VALUES (?, ?, ?, ?, ?, ?)", values)

    def groups(self) -> Iterator[Group]:
        """Yield the records of each key, in the order of the keys."""
        query = "SELECT key, file, line, size, record FROM parts ORDER BY key, seq"
        for _, group in groupby(self._db.execute(query), key=itemgetter(0)):
            rows: list[tuple[str, str, int, int, bytes]] = []
            more = 0
            for row in group:
                if len(rows) < MAX_PARTS:
                    rows.append(row)
                else:
                    more += 1
            _, file, line, _, _ = rows[0]
            parts = [orjson.loads(row[4]) for row in rows]
            yield Group(file, line, sum(row[3] for row in rows), parts, more)

    def close(self) -> None:
        """Remove the store from the disk."""
        self._db.close()
        self._folder.cleanup()
