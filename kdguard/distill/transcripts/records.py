"""The frames of a transcript's journal: what each holds, which ones count, and in which order."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import orjson
import pyarrow as pa
import zstandard

from kdguard.distill.transcripts.codec import CODEC_VERSION, PACKED
from kdguard.distill.transcripts.journal import read_frame, read_frames
from kdguard.errors import TranscriptError
from kdguard.exchanges.schema import EXCHANGES, SCHEMA_VERSION

_LENGTH: Final = struct.Struct("<I")
_CHUNK_REQUESTS: Final = 1024
_OLDEST_US: Final = -(1 << 63)
VERSIONS: Final = {"exchanges": SCHEMA_VERSION, "codec": CODEC_VERSION}


class Record(NamedTuple):
    """Some whole requests: all rows of each, and the packed traces of those that have one."""

    exchanges: pa.RecordBatch
    tokens: pa.RecordBatch


class Entry(NamedTuple):
    """Where one request stands in the journal.

    Attributes:
        time_us: When it arrived, microseconds since 1970; the least integer where not known.
        request_id: Its id.
        start: Where its frame begins.
        is_failed: No choice was answered; a later frame may hold another try.
    """

    time_us: int
    request_id: str
    start: int
    is_failed: bool


class Contents(NamedTuple):
    """A journal as it stands: what it is about, and the entries that count, by request."""

    about: dict[str, Any] | None
    entries: dict[str, Entry]


def encode(record: Record) -> bytes:
    """One frame; schemas are left out, the first frame tells their versions."""
    exchanges = record.exchanges.serialize().to_pybytes()
    tokens = record.tokens.serialize().to_pybytes()
    return zstandard.ZstdCompressor(level=3).compress(_LENGTH.pack(len(exchanges)) + exchanges + tokens)


def decode(payload: bytes) -> Record:
    """Undo `encode`."""
    data = pa.py_buffer(zstandard.ZstdDecompressor().decompress(payload))
    (length,) = _LENGTH.unpack(data[: _LENGTH.size].to_pybytes())
    exchanges = pa.ipc.read_record_batch(data[_LENGTH.size : _LENGTH.size + length], EXCHANGES)
    tokens = pa.ipc.read_record_batch(data[_LENGTH.size + length :], PACKED)
    return Record(exchanges, tokens)


def encode_about(about: dict[str, Any]) -> bytes:
    """The first frame: versions, and what the caller says of the run."""
    return orjson.dumps({"versions": VERSIONS, "about": about}, option=orjson.OPT_SORT_KEYS)


def contents(path: Path) -> Contents:
    """Read a journal through; the last frame of a request counts.

    Raises:
        TranscriptError: It is damaged or of another version.
    """
    about: dict[str, Any] | None = None
    found: dict[str, Entry] = {}
    for frame in read_frames(path):
        if about is None:
            about = _about(frame.payload, path)
            continue
        found |= {entry.request_id: entry for entry in entries(decode(frame.payload).exchanges, frame.start)}
    return Contents(about, found)


def entries(exchanges: pa.RecordBatch, start: int) -> list[Entry]:
    """The requests of one record."""
    told = exchanges.select(["request_id", "time", "status", "refused"])
    told = told.set_column(1, "time", told.column("time").cast(pa.int64()))
    found: dict[str, Entry] = {}
    for row in told.to_pylist():
        name, time_us = row["request_id"], row["time"]
        status = row["status"]
        is_failed = status is not None and not 200 <= status < 400 and not row["refused"]
        before = found.get(name)
        found[name] = Entry(
            _OLDEST_US if time_us is None else time_us,
            name,
            start,
            is_failed and (before is None or before.is_failed),
        )
    return list(found.values())


def sorted_records(path: Path, found: dict[str, Entry]) -> Iterator[Record]:
    """The requests that count in canonical order (time, request_id), some at a time.

    The order, and so every byte made from it, does not depend on the order in which answers came.
    """
    ordered = sorted(found.values())
    with path.open("rb") as file:
        read = lru_cache(maxsize=64)(lambda start: _by_request(decode(read_frame(file, start))))
        for place in range(0, len(ordered), _CHUNK_REQUESTS):
            chunk = ordered[place : place + _CHUNK_REQUESTS]
            pieces = [read(entry.start)[entry.request_id] for entry in chunk]
            yield Record(
                _joined([piece.exchanges for piece in pieces], EXCHANGES),
                _joined([piece.tokens for piece in pieces], PACKED),
            )


def _about(payload: bytes, path: Path) -> dict[str, Any]:
    try:
        told = orjson.loads(payload)
        versions, about = told["versions"], told["about"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise TranscriptError(f"{path}: the first frame must tell the versions") from error
    if versions != VERSIONS:
        raise TranscriptError(
            f"{path}: must be of versions {VERSIONS}, got {versions}; finish it with that kdguard"
        )
    return dict(about)


def _by_request(record: Record) -> dict[str, Record]:
    """Cut a record into one a request; rows of a request stand together."""
    spans = {name: (0, 0) for name in record.exchanges.column("request_id").to_pylist()}
    tokens = spans | _spans(record.tokens)
    return {
        name: Record(record.exchanges.slice(*span), record.tokens.slice(*tokens[name]))
        for name, span in _spans(record.exchanges).items()
    }


def _spans(batch: pa.RecordBatch) -> dict[str, tuple[int, int]]:
    """First row and number of rows of each request."""
    spans: dict[str, tuple[int, int]] = {}
    names: list[Any] = batch.column("request_id").to_pylist()
    for row, name in enumerate(names):
        first, count = spans.get(name, (row, 0))
        spans[name] = (first, count + 1)
    return spans


def _joined(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches, schema).combine_chunks()
    return table.to_batches()[0] if table.num_rows else pa.RecordBatch.from_pylist([], schema)
