"""Bodies to exchanges, by the readers that `kdguard score` uses, with every line that cannot be read named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.exchanges.schema import EXCHANGES
from kdguard.readers import Rejects
from kdguard.readers.documents import Document, by_line, decode
from kdguard.readers.formats.columnar import conformed
from kdguard.readers.rejects import Unfit
from kdguard.readers.sources import MAX_LINE_BYTES, Block
from kdguard.readers.stream import read_documents
from kdguard.service.ingest.otlp import from_protobuf

MOST_NAMED = 1_000
MOST_AHEAD_US = 86_400_000_000
"""An account whose time ran ahead loses its rows until the clocks meet (see lateness), so a day is the most."""


class LineErrors(Rejects):
    """Remembers each line that cannot be read, up to `MOST_NAMED`.

    Attributes:
        lines: Line number and reason of each.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[tuple[int, str]] = []

    def add(self, file: str, line: int, reason: Unfit, *, size_bytes: int = 0, raw: bytes = b"") -> None:
        """See `Rejects.add`."""
        super().add(file, line, reason)
        if len(self.lines) < MOST_NAMED:
            self.lines.append((line, str(reason)))


@dataclass(frozen=True)
class Read:
    """What a body held.

    Attributes:
        batches: Exchanges, in order.
        errors: What could not be read.
    """

    batches: Sequence[pa.RecordBatch]
    errors: LineErrors = field(default_factory=LineErrors)

    @property
    def exchanges(self) -> int:
        """Exchanges read."""
        return sum(batch.num_rows for batch in self.batches)


def read_ndjson(body: bytes, format: str, received_us: int) -> Read:
    """Read lines of JSON.

    Args:
        body: Lines of UTF-8.
        format: A name in `kdguard.readers.FORMATS`.
        received_us: When they came: the time of exchanges that have none.

    Raises:
        LogError: No such format.
    """
    errors = LineErrors()
    lines = body.split(b"\n")
    for at, line in enumerate(lines):
        if len(line) > MAX_LINE_BYTES:
            errors.add("-", at + 1, Unfit(f"a line must have at most {MAX_LINE_BYTES >> 20} MiB"))
            lines[at] = b""
    batches = read_documents(by_line([Block(1, lines)]), format, rejects=errors)
    return _timed(list(batches), errors, received_us)


def read_traces(body: bytes, received_us: int, *, protobuf: bool) -> Read:
    """Read an OTLP export of traces.

    Raises:
        Unfit: It is no JSON, or no protobuf of that kind.
    """
    errors = LineErrors()
    export = from_protobuf(body) if protobuf else decode(body)
    document = Document(1, len(body), export, None, b"")
    return _timed(list(read_documents([document], "otel", rejects=errors)), errors, received_us)


def read_arrow(body: pa.Buffer | bytes, received_us: int) -> Read:
    """Read an Arrow IPC stream whose columns are named like those of exchanges; others are dropped.

    Raises:
        Unfit: It is no such stream, or has none of the columns.
    """
    errors = LineErrors()
    try:
        with pa.ipc.open_stream(body) as stream:
            names = [name for name in EXCHANGES.names if name in set(stream.schema.names)]
            if "request_id" not in names and "account_id" not in names:
                raise Unfit("an Arrow stream must have columns of exchanges, account_id among them")
            batches = list(_conformed(stream, names, errors))
    except pa.ArrowException as error:
        raise Unfit("a body must be an Arrow IPC stream", type(error).__name__) from error
    return _timed(batches, errors, received_us)


def _conformed(
    stream: pa.RecordBatchReader, names: list[str], errors: LineErrors
) -> Iterator[pa.RecordBatch]:
    start = 1
    for batch in stream:
        batch.validate(full=True)
        whole = conformed(batch.select(names))
        if whole is not None:
            yield whole
        else:
            rows = batch.select(names).to_pylist()
            documents = (Document(start + at, 0, row, None, b"") for at, row in enumerate(rows))
            yield from read_documents(documents, "jsonl", rejects=errors)
        start += batch.num_rows


def _timed(batches: list[pa.RecordBatch], errors: LineErrors, received_us: int) -> Read:
    """Give exchanges without a time the time of arrival, and leave out those of the day after tomorrow."""
    timed = []
    for batch in batches:
        at = batch.schema.get_field_index("time")
        times = batch.column(at)
        if times.null_count:
            now = pa.scalar(received_us, pa.int64()).cast(times.type)
            times = pc.fill_null(times, now)
            batch = batch.set_column(at, EXCHANGES.field("time"), times)
        ahead = times.cast(pa.int64()).to_numpy(zero_copy_only=False) > received_us + MOST_AHEAD_US
        if ahead.any():
            for row in np.flatnonzero(ahead):
                name = batch.column("request_id")[int(row)].as_py()
                errors.add(
                    "-",
                    0,
                    Unfit(f"the time of request {name!r:.80} must be at most a day ahead of this clock"),
                )
            batch = batch.filter(pa.array(~ahead))
        if batch.num_rows:
            timed.append(batch)
    return Read(timed, errors)
