"""What a teacher served, as the flat JSON lines that `kdguard score` reads.

One file, written as it happens: a process that is killed loses nothing that a client had in full. `kdguard convert`
makes Parquet of it.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from kdguard.service.private_files import append_lines, append_private


class ExchangeLog:
    """Appends a line a choice, before the client has the end of it.

    Args:
        path: The file; made if absent, gone on with if not.

    Raises:
        TeacherError: The place cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path, self._lock = path, threading.Lock()
        self._file = append_private(path)

    def write(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Log the choices of one request; rows hold exchange columns.

        Raises:
            TeacherError: The disk is full; the file then ends as it did before.
        """
        lines = b"".join(orjson.dumps(_flat(row)) + b"\n" for row in rows)
        with self._lock:
            append_lines(self._file, lines, self.path)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _flat(row: Mapping[str, Any]) -> dict[str, Any]:
    """A line of the flat log: what is not known is left out."""
    told = {name: value for name, value in row.items() if value is not None}
    if isinstance(told.get("time"), datetime):
        told["time"] = told["time"].isoformat(timespec="microseconds").replace("+00:00", "Z")
    return told
