"""Parquet and Arrow IPC files: of exchanges, read column-wise, or of the records of another format.

Missing columns become null, other columns are dropped. A batch in which every cell is sound is passed
through as it is; otherwise it is read cell by cell like any other format, and bad rows are rejected by
their row number.

Account: ``account_id``; there is no fallback. Session: ``session_id``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdguard.errors import LogError
from kdguard.exchanges.schema import EXCHANGES
from kdguard.exchanges.store import open_to_stream
from kdguard.readers.columns import finish, sound
from kdguard.readers.documents import Document
from kdguard.readers.formats.flat import is_accounts
from kdguard.readers.reader import JsonReader, Reader, Record, Row
from kdguard.readers.sources import Source

_KNOWN = frozenset(EXCHANGES.names)


def _match(record: Record) -> bool:
    return False  # never JSON


def _exchanges(record: Record) -> Iterable[Row]:
    return (record,)


PARQUET = JsonReader(
    name="parquet", about="Parquet or Arrow IPC of exchanges", match=_match, exchanges=_exchanges
)


@dataclass(frozen=True, slots=True)
class Columnar:
    """An open Parquet or Arrow IPC file."""

    source: Source
    schema: pa.Schema

    def batches(self, rows: int, columns: list[str]) -> Iterator[pa.RecordBatch]:
        """Stream the chosen columns in batches of at most ``rows`` rows."""
        try:
            if self.source.magic()[:4] == b"PAR1":
                file = open_to_stream(self.source.name)
                yield from file.iter_batches(batch_size=rows, columns=columns, use_threads=False)
                return
            with pa.memory_map(self.source.name) as mapped:
                reader = pa.ipc.open_file(mapped)
                for index in range(reader.num_record_batches):
                    batch = reader.get_batch(index).select(columns)
                    for start in range(0, batch.num_rows, rows):
                        yield batch.slice(start, rows)
        except (pa.ArrowException, OSError) as error:
            raise LogError(f"{self.source.name}: the file is damaged: {error}") from error


def is_columnar(magic: bytes) -> bool:
    """Whether a file is one of the formats of this module, by its first bytes."""
    return magic[:4] == b"PAR1" or magic[:6] == b"ARROW1"


def opened(source: Source) -> Columnar:
    """Open a file and read its schema.

    Raises:
        LogError: The file is damaged.
    """
    try:
        if source.magic()[:4] == b"PAR1":
            return Columnar(source, pq.read_schema(source.name))
        with pa.memory_map(source.name) as mapped:
            return Columnar(source, pa.ipc.open_file(mapped).schema)
    except (pa.ArrowException, OSError) as error:
        raise LogError(f"{source.name}: the file is damaged: {error}") from error


def sniff(source: Source, formats: Mapping[str, Reader]) -> Reader:
    """Tell exchanges from the records of another format by the column names.

    Raises:
        LogError: Neither.
    """
    names = opened(source).schema.names
    record = dict.fromkeys(names, "")
    for reader in formats.values():
        if reader.name not in ("jsonl", "glasswally") and reader.matches(record):
            return reader
    if is_accounts(names):
        raise LogError(f"{source.name}: the file is an accounts table and no log; give it with --accounts")
    if len(_KNOWN & set(names)) >= 2:
        return PARQUET
    shown = ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
    raise LogError(
        f"{source.name}: its columns ({shown}) are those of no known format; describe it in a file with "
        "--format mapping:FILE.toml"
    )


def documents(source: Source) -> Iterator[Document]:
    """Rows as decoded documents, for the readers of JSON formats; ``line`` is the row number from 1."""
    file, number = opened(source), 0
    for batch in file.batches(1024, file.schema.names):
        size = batch.nbytes // max(1, batch.num_rows)
        for row in batch.to_pylist():
            number += 1
            yield Document(number, size, row, None, b"")


def exchanges(source: Source, rows: int) -> Iterator[tuple[int, pa.RecordBatch | None, list[Any]]]:
    """Batches of exchanges: (number of the first row, the batch if all of it is sound, else its rows)."""
    file, start = opened(source), 1
    names = [name for name in EXCHANGES.names if name in set(file.schema.names)]
    for batch in file.batches(rows, names):
        whole = conformed(batch)
        yield start, whole, [] if whole is not None else batch.to_pylist()
        start += batch.num_rows


def conformed(batch: pa.RecordBatch) -> pa.RecordBatch | None:
    """Return the batch in the exchange schema, or None if a cell needs a closer look."""
    columns: dict[str, pa.Array[Any]] = {}
    for field in EXCHANGES:
        position = batch.schema.get_field_index(field.name)
        if position < 0:
            columns[field.name] = pa.nulls(batch.num_rows, field.type)
            continue
        array = batch.column(position)
        try:
            if pa.types.is_timestamp(array.type) and field.name == "time":
                array = pc.cast(array, field.type, safe=False)
            elif array.type != field.type:
                if pa.types.is_string(field.type) and not _is_text(array.type):
                    return None  # numbers and bytes as identifiers: cell by cell
                array = array.cast(field.type)
        except pa.ArrowException:
            return None
        if not sound(field.name, array):
            return None
        columns[field.name] = array
    if columns["request_id"].null_count:
        return None
    finish(columns, PARQUET.name)
    return pa.RecordBatch.from_arrays(list(columns.values()), schema=EXCHANGES)


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind)
