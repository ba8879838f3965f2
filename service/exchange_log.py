"""What a teacher served, as the log that `kdguard score` reads: flat JSON lines at once, Parquet at the end."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.errors import TeacherError
from kdguard.exchanges.schema import EXCHANGES, from_rows

_GROUP_ROWS = 4_096


class ExchangeLog:
    """Writes `NAME.jsonl`, a line as soon as a choice is served, and `NAME.parquet`, complete when it is closed.

    Args:
        path: Where; its suffix is replaced.

    Raises:
        TeacherError: The place cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.jsonl, self.parquet = path.with_suffix(".jsonl"), path.with_suffix(".parquet")
        self._lock = threading.Lock()
        self._rows: list[dict[str, Any]] = []
        self._writer: pq.ParquetWriter | None = None
        try:
            self._lines: BinaryIO = self.jsonl.open("ab")
        except OSError as error:
            raise TeacherError(f"{self.jsonl}: the log cannot be written: {error.strerror}") from error

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the choices of one request; rows hold exchange columns.

        Raises:
            TeacherError: The disk is full.
        """
        kept = [dict(row) for row in rows]
        try:
            with self._lock:
                self._lines.write(b"".join(orjson.dumps(_flat(row)) + b"\n" for row in kept))
                self._lines.flush()
                self._rows += kept
                if len(self._rows) >= _GROUP_ROWS:
                    self._flush()
        except OSError as error:
            raise TeacherError(f"{self.jsonl}: the log cannot be written: {error.strerror}") from error

    def close(self) -> None:
        """Complete both files."""
        with self._lock:
            self._flush()
            if self._writer is not None:
                self._writer.close()
                self._unfinished.replace(self.parquet)
                self._writer = None
            self._lines.close()

    @property
    def _unfinished(self) -> Path:
        return self.parquet.with_name(f".{self.parquet.name}.unfinished")

    def _flush(self) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._unfinished, EXCHANGES, compression="zstd")
        self._writer.write_table(pa.Table.from_batches([from_rows(self._rows)], EXCHANGES))
        self._rows.clear()


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the flat log: what is not known is left out."""
    told = {name: value for name, value in row.items() if value is not None}
    if isinstance(told.get("time"), datetime):
        told["time"] = told["time"].isoformat(timespec="microseconds").replace("+00:00", "Z")
    return told
