"""Which files a transcript folder has, and how they come to be: sealing a journal into Parquet.

`unsealed.journal` while it grows; `exchanges.parquet`, `tokens.parquet` and `manifest.json` afterwards. As long as the
journal is there, it alone counts.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdguard.distill.transcripts.codec import PACKED
from kdguard.distill.transcripts.records import VERSIONS, Entry, sorted_records
from kdguard.errors import TranscriptError
from kdguard.exchanges import store
from kdguard.exchanges.whole import replaced

JOURNAL: Final = "unsealed.journal"
EXCHANGES_FILE: Final = "exchanges.parquet"
TOKENS_FILE: Final = "tokens.parquet"
MANIFEST: Final = "manifest.json"
SCHEMA_VERSION: Final = 1

_ROW_GROUP_BYTES: Final = 64 << 20  # of Arrow memory
_DICTIONARY_BYTES: Final = 8 << 20  # holds the byte strings of a large vocabulary
_REPEATING: Final = ["token_bytes.list.element", "top_bytes.list.element", "request_id"]


def make_folder(folder: Path) -> None:
    """Make a folder, or say why not."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TranscriptError(f"{folder}: cannot be made: {error.strerror}") from error


def is_sealed(folder: Path) -> bool:
    """Whether everything stands in Parquet files."""
    return (folder / EXCHANGES_FILE).is_file() and not (folder / JOURNAL).exists()


def sealed_ids(folder: Path) -> frozenset[str]:
    """The requests in a sealed folder."""
    path = folder / EXCHANGES_FILE
    try:
        names: list[Any] = pq.read_table(path, columns=["request_id"]).column(0).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise TranscriptError(f"{path}: not a Parquet file of exchanges: {error}") from error
    return frozenset(names)


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest; empty if there is none.

    Raises:
        TranscriptError: It is no JSON object, or of a later version.
    """
    path = folder / MANIFEST
    try:
        manifest = orjson.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, orjson.JSONDecodeError) as error:
        raise TranscriptError(f"{path}: must be a JSON object: {error}") from error
    version = manifest.get("schema_version", 0) if isinstance(manifest, dict) else None
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise TranscriptError(f"{path}: schema_version must be at most {SCHEMA_VERSION}, got {version}")
    return dict(manifest)


def seal(folder: Path, entries: dict[str, Entry], manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Write the Parquet files and the manifest, then drop the journal.

    Args:
        folder: Of the transcripts.
        entries: The requests that count.
        manifest: Further entries of the manifest.

    Returns:
        The manifest.

    Raises:
        TranscriptError: A file cannot be written; the journal is kept.
    """
    journal = folder / JOURNAL
    try:
        tokens = write_tokens((r.tokens for r in sorted_records(journal, entries)), folder / TOKENS_FILE)
        batches = (r.exchanges for r in sorted_records(journal, entries))
        exchanges = store.write(batches, folder / EXCHANGES_FILE)
        told = {
            "schema_version": SCHEMA_VERSION,
            "kind": "transcripts",
            "versions": VERSIONS,
            "counts": {"requests": len(entries), "exchanges": exchanges, "tokens": tokens},
            "files": {name: _digest(folder / name) for name in (EXCHANGES_FILE, TOKENS_FILE)},
        } | dict(manifest)
        with replaced(folder / MANIFEST) as unfinished:
            unfinished.write_bytes(orjson.dumps(told, option=orjson.OPT_INDENT_2) + b"\n")
        for name in (EXCHANGES_FILE, TOKENS_FILE, MANIFEST):
            _sync(folder / name)
        journal.unlink()
    except OSError as error:
        reason = error.strerror or error
        raise TranscriptError(
            f"{folder}: cannot be sealed: {reason}; the journal is kept, seal again once there is room"
        ) from error
    return told


def write_tokens(batches: Iterable[pa.RecordBatch], path: Path) -> int:
    """Write rows of the schema `PACKED`; the file appears when it is complete.

    Returns:
        The number of tokens.
    """
    tokens = 0
    with (
        replaced(path) as unfinished,
        pq.ParquetWriter(
            unfinished,
            PACKED,
            compression="zstd",
            compression_level=9,
            use_dictionary=_REPEATING,  # type: ignore[arg-type]
            dictionary_pagesize_limit=_DICTIONARY_BYTES,
            write_statistics=["request_id", "choice"],  # elsewhere the least and the greatest are whole blobs
        ) as writer,
    ):
        for group in _groups(batches):
            writer.write_table(group)
            tokens += int(pc.sum(group.column("positions")).as_py() or 0)
    return tokens


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        waiting.append(batch)
        if sum(part.nbytes for part in waiting) >= _ROW_GROUP_BYTES:
            yield pa.Table.from_batches(waiting, PACKED)
            waiting = []
    yield pa.Table.from_batches(waiting, PACKED)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()[:32]
