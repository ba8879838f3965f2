"""Signals on disk: written as they come, asked about in bounded memory; `kdguard.scoring.sorting` reads them in order.

Decision, 2026-11-23. A log can be larger than memory, and one account can be larger than memory too. Sorting
outside memory is a solved problem, so DuckDB does it; what it sorts are signals, not exchanges, so prompts never
reach the spill. Given up: about 25 MB of dependency.
"""

from __future__ import annotations

import tempfile
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import cast

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.features.signals import NO_TIME, SIGNALS

SORT_MEMORY_MB = 192
LEAST_MEMORY_MB = 128
ALWAYS = (NO_TIME, np.iinfo(np.int64).max)
"""A window that every row lies in, those without a time too."""
MOST_EPOCHS = 24
_PART_ROWS = 1_000_000


class Signals:
    """A folder of signals: files `part-*.parquet` in the schema `SIGNALS`, in any order.

    Args:
        folder: Where they lie; it stays as it is.
        sort_memory_mb: Memory a sort may use before it goes to disk.
    """

    def __init__(self, folder: Path, *, sort_memory_mb: int = SORT_MEMORY_MB) -> None:
        self.folder, self.sort_memory_mb = folder, sort_memory_mb

    def seal(self) -> None:
        """Finish what is being written; reading back needs it."""

    def exhibits(self, subjects: list[int], per_subject: int) -> pa.Table:
        """Name the requests of each subject that look most like extraction.

        Args:
            subjects: Hashes of accounts.
            per_subject: Requests a subject.

        Returns:
            Columns subject, request_id, technique, margin; strongest first within a subject.
        """
        self.seal()
        with self._connect() as connection:
            found = connection.sql(
                """
                SELECT subject, request_id, any_value(technique) AS technique, max(margin) AS margin
                FROM read_parquet(?) WHERE list_contains(?, subject)
                GROUP BY subject, request_id
                QUALIFY row_number() OVER (PARTITION BY subject ORDER BY max(margin) DESC, request_id) <= ?
                ORDER BY subject, margin DESC, request_id
                """,
                params=[f"{self.folder}/part-*.parquet", subjects, per_subject],
            )
            return cast(pa.Table, found.to_arrow_table())

    def daily(self, subjects: list[int], margin: int) -> pa.Table:
        """Count requests a day, and those at or above `margin`, for some subjects."""
        self.seal()
        with self._connect() as connection:
            found = connection.sql(
                """
                SELECT subject, time_us // 86400000000 AS day, count(*) AS requests,
                       count(*) FILTER (margin >= ?) AS suspicious
                FROM read_parquet(?) WHERE list_contains(?, subject) AND time_us > 0
                GROUP BY ALL ORDER BY ALL
                """,
                params=[margin, f"{self.folder}/part-*.parquet", subjects],
            )
            return cast(pa.Table, found.to_arrow_table())

    def epochs(self, length_us: int) -> list[tuple[int, int]]:
        """Cut the log into windows of one length from its first time on; empty ones are left out.

        Rows without a time are in the first window. A log without times, or without rows, is one window. Times that
        are scattered over more than 24 windows get windows of twice the length, and so on: each costs a reading.

        Returns:
            Half-open windows in microseconds since 1970, ascending; together they hold every row.
        """
        self.seal()
        if not any(self.folder.glob("part-*.parquet")):
            return [ALWAYS]
        with self._connect() as connection:
            found = connection.execute(
                """
                WITH timed AS (SELECT time_us FROM read_parquet(?) WHERE time_us > ?),
                     start AS (SELECT min(time_us) AS first_us FROM timed)
                SELECT DISTINCT first_us + (time_us - first_us) // ? * ? FROM timed, start ORDER BY 1
                """,
                [f"{self.folder}/part-*.parquet", NO_TIME, length_us, length_us],
            ).fetchall()
        starts = [start_us for (start_us,) in found]
        if len(starts) > MOST_EPOCHS:
            return self.epochs(2 * length_us)
        if len(starts) <= 1:
            return [ALWAYS]
        edges = [ALWAYS[0], *starts[1:], ALWAYS[1]]
        return list(pairwise(edges))

    def _connect(self) -> duckdb.DuckDBPyConnection:
        return connect(self.folder, "query", self.sort_memory_mb)


class Spill(Signals):
    """A folder of signals that lives as long as the `with` block.

    Args:
        folder: Where to put it; a temporary folder by default, removed at the end.
        sort_memory_mb: Memory the sort may use before it goes to disk.
    """

    def __init__(self, folder: Path | None = None, *, sort_memory_mb: int = SORT_MEMORY_MB) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="kdguard-", dir=folder)
        super().__init__(Path(self._temporary.name), sort_memory_mb=sort_memory_mb)
        self._writer: pq.ParquetWriter | None = None
        self._rows_in_part = 0
        self._parts = 0

    def __enter__(self) -> Spill:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def write(self, signals: pa.RecordBatch) -> None:
        """Append signals, in any order."""
        if self._writer is None:
            self._parts += 1
            self._writer = pq.ParquetWriter(
                self.folder / f"part-{self._parts:06d}.parquet",
                SIGNALS,
                compression="lz4",
                use_dictionary=True,
                write_statistics=["time_us"],  # a piece of a large account skips what lies at other times
            )
        self._writer.write_batch(signals)
        self._rows_in_part += signals.num_rows
        if self._rows_in_part >= _PART_ROWS:
            self.seal()

    def seal(self) -> None:
        """Finish the part being written; reading back needs it."""
        if self._writer is not None:
            self._writer.close()
            self._writer, self._rows_in_part = None, 0

    def close(self) -> None:
        """Remove the folder."""
        self.seal()
        self._temporary.cleanup()


def connect(folder: Path, name: str, memory_mb: int) -> duckdb.DuckDBPyConnection:
    """Open a database in memory that puts what is over the limit into a folder of its own beside the signals."""
    connection = duckdb.connect(
        config={
            "memory_limit": f"{max(memory_mb, LEAST_MEMORY_MB)}MB",
            "temp_directory": str(folder / name),
            "threads": 1,
            "preserve_insertion_order": "false",
        }
    )
    # The bar would go to stdout, among the JSON lines.
    connection.execute("SET enable_progress_bar = false")
    return connection
