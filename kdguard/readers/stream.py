"""The way from paths to record batches: open, decode, ask the format, build columns, name the rejects."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path

import pyarrow as pa

from kdguard.errors import LogError
from kdguard.readers.documents import Document
from kdguard.readers.formats import columnar
from kdguard.readers.formats.mapping import load_mapping
from kdguard.readers.pending import SHAPE_ERRORS, Pending, Place
from kdguard.readers.reader import Joiner, Reader, Record
from kdguard.readers.registry import FORMATS
from kdguard.readers.rejects import Rejects, Unfit
from kdguard.readers.sniffing import sniffed
from kdguard.readers.sources import Source, expand
from kdguard.readers.spill import Spill


def read(
    paths: Sequence[str | Path],
    format: str | Reader = "auto",
    *,
    account: str | None = None,
    time: str | None = None,
    rejects: Rejects | None = None,
    batch_rows: int = 8192,
) -> Iterator[pa.RecordBatch]:
    """Read logs as a stream of exchanges.

    Args:
        paths: Files, globs, directories, or ``-`` for stdin. gzip and zstd are recognised by content.
        format: A name in `FORMATS`, ``mapping:FILE.toml``, ``auto`` to sniff each file, or a reader itself.
        account: Another source of ``account_id``: a dotted field of the source record, or ``=VALUE``.
        time: Another source of ``time``: a dotted field, or ``file`` for the file's modification time.
        rejects: Receives what could not be read.
        batch_rows: Most rows a batch; the rows themselves do not depend on it.

    Yields:
        Batches of exactly the columns of `EXCHANGES`, in the order of the files and their lines (formats
        that join records: at the end, in the order of the join key). Without an account, ``account_id`` is
        null.

    Raises:
        LogError: No such file or format; a file that is empty, of unknown format or without a readable
            line; ``time="file"`` on stdin. The first two at once, the others while reading.
    """
    sources = expand(paths)
    given = _named(format)
    if time == "file" and any(source.name == "-" for source in sources):
        raise LogError("--time file needs files; stdin has no modification time")
    if batch_rows < 1:
        raise LogError(f"batch_rows must be at least 1, got {batch_rows}")
    pending = Pending(
        rejects if rejects is not None else Rejects(), batch_rows, account or None, time or None
    )
    return _read(sources, given, pending)


def read_documents(
    documents: Iterable[Document], format: str, *, rejects: Rejects, batch_rows: int = 8192
) -> Iterator[pa.RecordBatch]:
    """Read decoded documents that lie in no file, such as the body of a request, by the rules of `read`.

    Args:
        documents: Documents with their line numbers; see `kdguard.readers.documents.by_line`.
        format: A name in `FORMATS` that does not join records.
        rejects: Receives what could not be read, under the file name `-`.
        batch_rows: Most rows a batch.

    Raises:
        LogError: No such format, or one whose exchanges are spread over several records.
    """
    reader = FORMATS.get(format)
    if reader is None or reader is columnar.PARQUET or isinstance(reader, Joiner):
        whole = [
            name for name, one in FORMATS.items() if not isinstance(one, Joiner) and one.name != "parquet"
        ]
        raise LogError(f"format must be one of {', '.join(whole)}; got '{format}'")
    source, pending = Source("-"), Pending(rejects, batch_rows, None, None)
    for place, record in _exploded(source, reader, documents, pending):
        if pending.take(record, reader, place):
            yield from pending.flush(reader.name)
    yield from pending.flush(reader.name)


def sniff(path: str | Path) -> str:
    """Name the format of one file.

    Raises:
        LogError: The file is empty or missing, or its format is not recognised.
    """
    source = Source(str(path))
    if columnar.is_columnar(source.magic()):
        return columnar.sniff(source, FORMATS).name
    return sniffed(source, Rejects()).reader.name


def _named(format: str | Reader) -> Reader | None:
    if not isinstance(format, str):
        return format
    if format == "auto":
        return None
    if format.startswith("mapping:"):
        return load_mapping(Path(format.removeprefix("mapping:")))
    if format not in FORMATS:
        known = ", ".join(["auto", *FORMATS, "mapping:FILE.toml"])
        raise LogError(f"--format must be one of {known}; got '{format}'")
    return FORMATS[format]


def _read(sources: list[Source], given: Reader | None, pending: Pending) -> Iterator[pa.RecordBatch]:
    spills: dict[str, tuple[Joiner, Spill]] = {}
    before = ""
    with ExitStack() as stack:
        stack.callback(pending.rejects.flush)
        for source in sources:
            reader, documents, layout = _opened(source, given, pending.rejects)
            pending.rejects.of(source.name).format = f"{reader.name} ({layout})" if layout else reader.name
            if reader.name != before:
                yield from pending.flush(before)
                before = reader.name
            if documents is None:
                yield from _columns(source, pending)
            elif isinstance(reader, Joiner):
                if reader.name not in spills:
                    spills[reader.name] = (reader, stack.enter_context(closing(Spill())))
                _gather(source, reader, documents, pending, spills[reader.name][1])
            else:
                yield from _records(source, reader, documents, pending)
        yield from pending.flush(before)
        for joiner, spill in spills.values():
            yield from _joined(joiner, spill, pending)
    if pending.unproven:
        raise pending.unreadable(min(pending.unproven))
    if not pending.total and pending.rejects.total:
        raise pending.unreadable(sources[0].name)
    if not pending.total:
        skipped = pending.rejects.skipped
        wanted = f"; none was {given.about}" if given is not None else ""
        raise LogError(
            f"{sources[0].name}: no exchange was found; {skipped} records are of another kind{wanted}"
        )


def _opened(
    source: Source, given: Reader | None, rejects: Rejects
) -> tuple[Reader, Iterator[Document] | None, str]:
    """The reader of a file, its documents and layout; no documents for exchanges that are read by columns."""
    if not columnar.is_columnar(source.magic()):
        if given is columnar.PARQUET:
            raise LogError(f"{source.name}: the file is neither Parquet nor Arrow IPC")
        return sniffed(source, rejects, given)
    reader = given or columnar.sniff(source, FORMATS)
    return reader, None if reader is columnar.PARQUET else columnar.documents(source), ""


def _columns(source: Source, pending: Pending) -> Iterator[pa.RecordBatch]:
    """Parquet of exchanges. Another source of account or time needs other columns, hence whole rows."""
    if pending.account is not None or pending.time is not None:
        yield from _records(source, columnar.PARQUET, columnar.documents(source), pending)
        yield from pending.flush(columnar.PARQUET.name)
        return
    pending.unproven.add(source.name)
    for start, batch, rows in columnar.exchanges(source, pending.batch_rows):
        if batch is not None and batch.num_rows:
            pending.unproven.discard(source.name)
            pending.total += batch.num_rows
            pending.rejects.of(source.name).exchanges += batch.num_rows
            yield batch
        for number, row in enumerate(rows, start):
            pending.take(row, columnar.PARQUET, Place(source, number, 0))
        yield from pending.flush(columnar.PARQUET.name)
    pending.settle(source)


def _records(
    source: Source, reader: Reader, documents: Iterable[Document], pending: Pending
) -> Iterator[pa.RecordBatch]:
    pending.unproven.add(source.name)
    for place, record in _exploded(source, reader, documents, pending):
        if pending.take(record, reader, place):
            yield from pending.flush(reader.name)
    pending.settle(source)


def _exploded(
    source: Source, reader: Reader, documents: Iterable[Document], pending: Pending
) -> Iterator[tuple[Place, Record]]:
    """The records of each document; what is none is rejected."""
    for line, size_bytes, value, unfit, raw in documents:
        try:
            if unfit is not None:
                raise unfit
            place = Place(source, line, size_bytes)
            for entry in value if isinstance(value, list) else (value,):
                if not isinstance(entry, dict):
                    raise Unfit("a line must hold one JSON object in UTF-8", f"JSON {type(entry).__name__}")
                for record in reader.records(entry):
                    yield place, record
        except SHAPE_ERRORS as error:
            rule = f"a record must have the shape of format '{reader.name}'"
            reason = error if isinstance(error, Unfit) else Unfit(rule, type(error).__name__)
            pending.rejects.add(source.name, line, reason, size_bytes=size_bytes, raw=raw)


def _gather(
    source: Source, reader: Joiner, documents: Iterable[Document], pending: Pending, spill: Spill
) -> None:
    kept = 0
    for place, record in _exploded(source, reader, documents, pending):
        try:
            key = reader.key(record)
            if key is not None:
                spill.add(key, place.source.name, place.line, place.size_bytes, record)
        except SHAPE_ERRORS as error:
            pending.reject(place, error, reader.name)
            continue
        kept += 1
        pending.rejects.skipped += key is None
    if not kept:
        raise pending.unreadable(source.name)


def _joined(reader: Joiner, spill: Spill, pending: Pending) -> Iterator[pa.RecordBatch]:
    for group in spill.groups():
        place = Place(Source(group.file), group.line, group.size_bytes)
        if group.more:
            rule = f"records of one exchange must be at most {len(group.parts)}"
            pending.reject(place, Unfit(rule, f"{group.more} more"), reader.name)
        try:
            whole = list(reader.join(group.parts))
        except SHAPE_ERRORS as error:
            pending.reject(place, error, reader.name)
            continue
        pending.rejects.skipped += not whole
        for record in whole:
            if pending.take(record, reader, place):
                yield from pending.flush(reader.name)
    yield from pending.flush(reader.name)
