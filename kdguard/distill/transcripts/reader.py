"""Read a transcript folder, sealed or still growing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from kdguard.distill.transcripts import folder as layout
from kdguard.distill.transcripts.codec import CODEC_VERSION, PACKED, unpack
from kdguard.distill.transcripts.journal import read_frames
from kdguard.distill.transcripts.records import contents, decode, sorted_records
from kdguard.errors import TranscriptError
from kdguard.exchanges import store
from kdguard.exchanges.schema import EXCHANGES
from kdguard.exchanges.token_table import KeyedTrace, traces_to_table
from kdguard.exchanges.tokens import TokenTrace


@dataclass(frozen=True)
class Tokens:
    """The tokens of a transcript, held packed and unpacked one choice at a time.

    Attributes:
        packed: Rows of the schema `PACKED`, sorted as the exchanges are.
    """

    packed: pa.Table

    def __len__(self) -> int:
        """Choices that have tokens."""
        return self.packed.num_rows

    def __iter__(self) -> Iterator[KeyedTrace]:
        for batch in self.packed.to_batches(max_chunksize=64):
            for row in batch.to_pylist():
                yield row["request_id"], row["choice"], unpack(row)

    def get(self, request_id: str, choice: int = 0) -> TokenTrace | None:
        """The tokens of one choice; None where they were not told."""
        row = self._places.get((request_id, choice))
        return None if row is None else unpack(self.packed.slice(row, 1).to_pylist()[0])

    def table(self) -> pa.Table:
        """Everything as one row a token, in the schema `kdguard.exchanges.tokens.TOKENS`."""
        return traces_to_table(self)

    @property
    def positions(self) -> int:
        """Tokens of all choices together."""
        return int(pc.sum(self.packed.column("positions")).as_py() or 0)

    @cached_property
    def _places(self) -> dict[tuple[str, int], int]:
        keys: list[Any] = [self.packed.column(name).to_pylist() for name in ("request_id", "choice")]
        return {key: row for row, key in enumerate(zip(*keys, strict=True))}


@dataclass(frozen=True)
class Transcripts:
    """What was asked and answered.

    Attributes:
        exchanges: Rows of the exchange schema in canonical order (time, request_id), choices in the order appended.
        tokens: The tokens of those choices that have them.
        about: What the run was, as its writer said.
        is_sealed: Nothing can be appended any more.
    """

    exchanges: pa.Table
    tokens: Tokens
    about: dict[str, Any]
    is_sealed: bool


def read_transcripts(folder: str | Path) -> Transcripts:
    """Read a whole folder into memory, tokens packed.

    Args:
        folder: Written by `TranscriptWriter`; what another process is still writing is read as far as it is.

    Raises:
        TranscriptError: The folder holds no transcripts, is damaged, or is of a later version.
    """
    place = Path(folder)
    if (place / layout.JOURNAL).exists():
        begun, entries = contents(place / layout.JOURNAL)
        records = list(sorted_records(place / layout.JOURNAL, entries))
        exchanges = pa.Table.from_batches([record.exchanges for record in records], EXCHANGES)
        tokens = pa.Table.from_batches([record.tokens for record in records], PACKED)
        return Transcripts(exchanges, Tokens(tokens), begun or {}, is_sealed=False)
    if not layout.is_sealed(place):
        raise TranscriptError(
            f"{place}: holds no transcripts: neither {layout.JOURNAL} nor {layout.EXCHANGES_FILE}"
        )
    about = layout.read_manifest(place).get("about", {})
    exchanges = pa.Table.from_batches(store.read(place / layout.EXCHANGES_FILE), EXCHANGES)
    return Transcripts(exchanges, Tokens(_packed(place / layout.TOKENS_FILE)), about, is_sealed=True)


def every_try(folder: str | Path) -> Iterator[pa.RecordBatch]:
    """Exchanges in the order in which they were appended, with those whose place a later try took.

    Args:
        folder: As for `read_transcripts`; a sealed one has forgotten all tries but the last.

    Raises:
        TranscriptError: The folder is damaged.
    """
    journal = Path(folder) / layout.JOURNAL
    if not journal.exists():
        yield from read_transcripts(folder).exchanges.to_batches()
        return
    frames = read_frames(journal)
    next(frames, None)  # the first one says what the run is about
    for frame in frames:
        yield decode(frame.payload).exchanges


def _packed(path: Path) -> pa.Table:
    if not path.exists():
        return PACKED.empty_table()
    try:
        table = pq.read_table(path)
        version = int((table.schema.metadata or {}).get(b"codec_version", b"0"))
        if version > CODEC_VERSION:
            raise TranscriptError(f"{path}: codec_version must be at most {CODEC_VERSION}, got {version}")
        return table.select(PACKED.names).cast(PACKED)
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        if isinstance(error, TranscriptError):
            raise
        raise TranscriptError(f"{path}: not a file of packed tokens: {error}") from error
