"""The file that `--rejects` names: rejects come in as they are found and go out in the order of the log.

A record whose columns cannot be built is found out thousands of lines after one that is no JSON, and a line that is too
long before either. So entries are set down beside the file as they come, in runs that are in order, and the runs
are merged at the end of a reading: memory grows with the runs, of which a batch of rows makes two at most.
"""

from __future__ import annotations

import heapq
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

Position = tuple[int, int]


class Listing:
    """A file of entries, one a line.

    Args:
        path: The file; made at once.
    """

    def __init__(self, path: str | Path) -> None:
        self._file = open(path, "wb")  # noqa: SIM115
        self._waiting = tempfile.TemporaryFile()  # noqa: SIM115
        self._runs: list[int] = []
        self._last: Position = (-1, -1)

    def add(self, position: Position, entry: bytes) -> None:
        """Add an entry.

        Args:
            position: Place of its file among the log's, and its line.
            entry: A line without its end.
        """
        if position < self._last or not self._runs:
            self._runs.append(self._waiting.tell())
        self._last = position
        self._waiting.write(b"%d %d %s\n" % (*position, entry))

    def flush(self) -> None:
        """Write what has come since the last time, in order, and push it out to the disk."""
        self._waiting.flush()
        if self._runs:
            with mmap.mmap(self._waiting.fileno(), 0, access=mmap.ACCESS_READ) as waiting:
                ends = [*self._runs[1:], len(waiting)]
                runs = [_run(waiting, start, end) for start, end in zip(self._runs, ends, strict=True)]
                for _, entry in heapq.merge(*runs, key=lambda one: one[0]):
                    self._file.write(entry)
            self._waiting.seek(0)
            self._waiting.truncate()
            self._runs, self._last = [], (-1, -1)
        self._file.flush()

    def close(self) -> None:
        """Write what is left and close the file."""
        try:
            self.flush()
        finally:
            self._waiting.close()
            self._file.close()


def _run(waiting: mmap.mmap, start: int, end: int) -> Iterator[tuple[Position, bytes]]:
    while start < end:
        after = waiting.find(b"\n", start) + 1
        file, line, entry = waiting[start:after].split(b" ", 2)
        yield (int(file), int(line)), entry
        start = after
