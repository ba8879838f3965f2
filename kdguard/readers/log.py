"""A log that can be read more than once: learning a baseline takes two passes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.errors import LogError
from kdguard.readers.reader import Joiner
from kdguard.readers.registry import FORMATS
from kdguard.readers.rejects import Rejects
from kdguard.readers.stream import read


@dataclass(frozen=True)
class Exchanges:
    """Exchanges of some log files, read anew each time they are iterated over.

    Attributes:
        paths: Files, globs, directories, or `-` for standard input (which can be read once only).
        format: A name in `kdguard.readers.FORMATS`, `mapping:FILE.toml`, or `auto`.
        account, time: Other sources of these columns; see `kdguard.readers.read`.
        rejects: Receives what could not be read.
        in_arrival_order: Refuse formats that join records, whose exchanges do not come in the order of arrival.
    """

    paths: tuple[str, ...]
    format: str = "auto"
    account: str | None = None
    time: str | None = None
    rejects: Rejects = field(default_factory=Rejects, compare=False)
    in_arrival_order: bool = False

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        batches = read(self.paths, self.format, account=self.account, time=self.time, rejects=self.rejects)
        return map(_refuse_joined, batches) if self.in_arrival_order else batches

    def to_pandas(self) -> pd.DataFrame:
        """Return everything as one data frame; for logs that fit in memory."""
        return pa.Table.from_batches(list(self)).to_pandas()


def open_log(
    paths: str | Path | Sequence[str | Path],
    format: str = "auto",
    *,
    account: str | None = None,
    time: str | None = None,
    rejects: Rejects | None = None,
    in_arrival_order: bool = False,
) -> Exchanges:
    """Name a log; nothing is read yet."""
    several = [paths] if isinstance(paths, str | Path) else list(paths)
    return Exchanges(
        tuple(str(path) for path in several),
        format,
        account,
        time,
        rejects if rejects is not None else Rejects(),
        in_arrival_order,
    )


def _refuse_joined(batch: pa.RecordBatch) -> pa.RecordBatch:
    for name in pc.unique(batch.column("source_format")).to_pylist():
        if isinstance(FORMATS.get(str(name)), Joiner):
            raise LogError(
                f"exchanges of format '{name}' are joined from several records, so their order of arrival is not "
                "known; leave out --lateness"
            )
    return batch
