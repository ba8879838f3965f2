"""Signals on disk: a file for each journal segment, later joined into larger ones.

A file is named after the segments whose signals it holds, `part-<first>-<last>.parquet`, and written under another name
first, so that it is there whole or not at all: a segment is encoded exactly if a part covers it. Counts that the
signals do not show (late exchanges, exchanges without account) lie in its metadata.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdguard.features.signals import SIGNALS
from kdguard.service.ingest.journal import sync_folder

_NAME = re.compile(r"part-(\d{12})-(\d{12})\.parquet")
_COUNTS = b"kdguard_counts"
_SMALL = 32
"""So many parts of like size are joined into one."""
_ROWS_A_TURN = 200_000


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One file of signals.

    Attributes:
        first, last: Numbers of the segments it covers, both included.
    """

    first: int
    last: int

    @property
    def name(self) -> str:
        """Its file name."""
        return f"part-{self.first:012d}-{self.last:012d}.parquet"


@dataclass(frozen=True, slots=True)
class Counts:
    """What is known of signals besides themselves.

    Attributes:
        exchanges: Exchanges that were not late, those without account included.
        unattributed: Those without account.
        late: Exchanges that were left out.
        first_us, last_us: Range of the times of the signals; (0, 0) where there are none.
    """

    exchanges: int = 0
    unattributed: int = 0
    late: int = 0
    first_us: int = 0
    last_us: int = 0

    def __add__(self, other: Counts) -> Counts:
        timed = [one for one in (self, other) if (one.first_us, one.last_us) != (0, 0)]
        return Counts(
            self.exchanges + other.exchanges,
            self.unattributed + other.unattributed,
            self.late + other.late,
            min((one.first_us for one in timed), default=0),
            max((one.last_us for one in timed), default=0),
        )


def recover(folder: Path) -> None:
    """Remove what a killed process left behind: unfinished files, and parts that a joined one replaces."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for unfinished in folder.glob("*.partial"):
        unfinished.unlink()
    reach = 0
    for part in sorted(_all(folder), key=lambda part: (part.first, -part.last)):
        if part.last <= reach:
            (folder / part.name).unlink()
        reach = max(reach, part.last)


def parts_of(folder: Path) -> list[Part]:
    """Parts in the order of their segments."""
    return sorted(_all(folder))


def encoded_to(folder: Path) -> int:
    """Number of the last segment that is encoded; 0 = none."""
    return max((part.last for part in _all(folder)), default=0)


def write_part(folder: Path, part: Part, batches: Sequence[pa.RecordBatch], counts: Counts) -> None:
    """Write a part, whole or not at all, durably."""
    told = {_COUNTS: orjson.dumps(_told(counts))}
    partial = folder / f"{part.name}.partial"
    schema = SIGNALS.with_metadata({**(SIGNALS.metadata or {}), **told})
    with pq.ParquetWriter(partial, schema, compression="lz4", write_statistics=False) as writer:
        for batch in batches:
            writer.write_batch(batch.replace_schema_metadata(schema.metadata))
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    os.rename(partial, folder / part.name)
    sync_folder(folder)


def read_part(folder: Path, part: Part, columns: list[str] | None = None) -> pa.Table:
    """The signals of a part, in the order of arrival."""
    return pq.read_table(folder / part.name, columns=columns, use_threads=False).replace_schema_metadata(None)


def in_turns(folder: Path, some: Sequence[Part]) -> Iterator[tuple[int, pa.Table]]:
    """The signals of parts, of many small ones at once, each time with the number of the last segment they cover."""
    turn: list[pa.Table] = []
    for part in some:
        turn.append(read_part(folder, part))
        if part is some[-1] or sum(table.num_rows for table in turn) >= _ROWS_A_TURN:
            yield part.last, pa.concat_tables(turn)
            turn = []


def counts_of(folder: Path, part: Part) -> Counts:
    """The counts of a part."""
    return Counts(**orjson.loads((pq.read_schema(folder / part.name).metadata or {})[_COUNTS]))


def join_small(folder: Path) -> bool:
    """Join the oldest run of parts of like size into one; False where no run is long enough.

    The joined part appears before those it replaces go; `recover` removes them if the process dies in between.
    """
    run: list[Part] = []
    for part in parts_of(folder):
        if run and _class(run[0]) != _class(part):
            run = []
        run.append(part)
        if len(run) == _SMALL:
            break
    else:
        return False
    counts = sum((counts_of(folder, part) for part in run), Counts())
    batches = [batch for part in run for batch in read_part(folder, part).to_batches()]
    write_part(folder, Part(run[0].first, run[-1].last), batches, counts)
    for part in run:
        (folder / part.name).unlink()
    return True


def without(folder: Path, subject: int) -> int:
    """Rewrite the parts that hold signals of an account, without them; returns how many signals went."""
    gone = 0
    for part in parts_of(folder):
        table = read_part(folder, part)
        mine = pc.equal(table["subject"], pa.scalar(subject, pa.uint64()))
        here = int(mine.to_numpy().sum())
        if here:
            counts = counts_of(folder, part)
            kept = table.filter(pc.invert(mine))
            less = Counts(counts.exchanges - here, counts.unattributed, counts.late, *span(kept["time_us"]))
            write_part(folder, part, kept.to_batches(), less)
            gone += here
    return gone


def expire(folder: Path, before_us: int) -> int:
    """Rewrite the parts that hold signals of before a time, without these; returns how many signals went.

    A part stays, be it empty: that it is there says that its segments were encoded.
    """
    gone = 0
    for part in parts_of(folder):
        counts = counts_of(folder, part)
        if not counts.exchanges or counts.first_us >= before_us:
            continue
        table = read_part(folder, part)
        kept = table.filter(pa.array(table["time_us"].to_numpy() >= before_us))
        here = table.num_rows - kept.num_rows
        if here:
            less = Counts()
            if kept.num_rows:
                less = Counts(
                    counts.exchanges - here, counts.unattributed, counts.late, *span(kept["time_us"])
                )
            write_part(folder, part, kept.to_batches(), less)
            gone += here
    return gone


def span(times: pa.ChunkedArray[Any] | pa.Array[Any]) -> tuple[int, int]:
    """First and last of some times; (0, 0) of none."""
    if not len(times):
        return 0, 0
    values = times.to_numpy()
    return int(values.min()), int(values.max())


def _class(part: Part) -> int:
    size, level = part.last - part.first + 1, 0
    while size >= _SMALL:
        size, level = size // _SMALL, level + 1
    return level


def _told(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in Counts.__slots__}


def _all(folder: Path) -> list[Part]:
    found = [_NAME.fullmatch(path.name) for path in folder.glob("part-*.parquet")]
    return [Part(int(match[1]), int(match[2])) for match in found if match is not None]
