"""Exchanges on disk: Parquet that explains itself and scores fastest.

Files are written beside their place and renamed into it, so a reader never sees half a file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.errors import LogError
from kdguard.exchanges.schema import EXCHANGES, SCHEMA_VERSION, conform
from kdguard.exchanges.whole import replaced

ROW_GROUP_ROWS = 65_536
ROW_GROUP_BYTES = 256 << 20  # of Arrow memory; long prompts make shorter row groups
# Columns whose values hardly ever repeat: a dictionary would only be thrown away.
_PROSE = frozenset({"request_id", "prompt", "response", "reasoning", "messages", "tool_calls", "time"})


def write(batches: Iterable[pa.RecordBatch], path: str | Path) -> int:
    """Write exchanges to a Parquet file.

    Args:
        batches: Batches of the exchange columns, or of a part of them.
        path: Where the file is to stand; replaced only when the new one is complete. What a killed run left of one,
            `.NAME.unfinished`, is written over.

    Returns:
        Number of rows written.

    Raises:
        LogError: The place cannot be written.
    """
    place, rows = Path(path), 0
    with replaced(place) as unfinished:
        try:
            unfinished.touch()
        except OSError as error:
            raise LogError(f"{place}: cannot be written: {error.strerror}") from error
        with pq.ParquetWriter(
            unfinished,
            EXCHANGES,
            compression="zstd",
            use_dictionary=[name for name in EXCHANGES.names if name not in _PROSE],  # type: ignore[arg-type]
        ) as writer:
            for group in _groups(batches):
                writer.write_table(group, row_group_size=ROW_GROUP_ROWS)
                rows += group.num_rows
    return rows


def read(path: str | Path, *, batch_rows: int = 8192) -> Iterator[pa.RecordBatch]:
    """Stream a file that `write` made.

    Args:
        path: A Parquet file of exchanges.
        batch_rows: Most rows of a batch.

    Yields:
        Batches with exactly the exchange schema.

    Raises:
        LogError: The file is missing, damaged, or of a later schema version.
    """
    try:
        file = open_to_stream(path)
    except (OSError, pa.ArrowException) as error:
        raise LogError(f"{path}: not a Parquet file of exchanges: {error}") from error
    with file:
        version = (file.schema_arrow.metadata or {}).get(b"schema_version", b"0")
        if not version.isdigit() or int(version) > SCHEMA_VERSION:
            given = version.decode("utf-8", "replace")
            raise LogError(f"{path}: schema_version must be at most {SCHEMA_VERSION}, got {given}")
        try:
            for batch in file.iter_batches(batch_size=batch_rows, use_threads=False):
                yield conform(batch)
        except (OSError, pa.ArrowException) as error:
            raise LogError(f"{path}: the file is damaged: {error}") from error


def open_to_stream(path: str | Path) -> pq.ParquetFile:
    """Open a Parquet file whose batches are to be read one after the other, in memory that does not grow with it.

    Arrow's own default fetches column chunks ahead and keeps them for as long as the file is open.

    Raises:
        OSError: The file cannot be opened.
        pyarrow.ArrowException: It is no Parquet file.
    """
    return pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False)


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Gather batches into row groups of `ROW_GROUP_ROWS`, or fewer where rows are large."""
    waiting: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, ROW_GROUP_ROWS - rows)
            start += part.num_rows
            waiting.append(conform(part))
            rows += part.num_rows
            size += part.nbytes
            if rows == ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
                yield pa.Table.from_batches(waiting, EXCHANGES)
                waiting, rows, size = [], 0, 0
    if waiting:
        yield pa.Table.from_batches(waiting, EXCHANGES)
