"""What a token costs on disk."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from kdguard.distill.transcripts import folder as layout
from kdguard.errors import TranscriptError


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of a sealed transcript.

    Attributes:
        requests, exchanges: How many there are.
        tokens: Tokens that were told.
        kinds: Tokens by what is known of their alternatives: `top_ids`, `top_bytes` (an API without ids), `sampled`
            (sampled soft labels), or `none`.
        alternatives: Mean of k over the tokens.
        columns_bytes: Compressed size of each column of `tokens.parquet`.
        tokens_bytes: Size of `tokens.parquet`, all told.
        exchanges_bytes: Size of `exchanges.parquet`: prompts, texts, who and when.
    """

    requests: int
    exchanges: int
    tokens: int
    kinds: Mapping[str, int]
    alternatives: float
    columns_bytes: Mapping[str, int]
    tokens_bytes: int
    exchanges_bytes: int

    @property
    def bytes_per_token(self) -> float:
        """Of `tokens.parquet`; NaN without tokens."""
        return self.tokens_bytes / self.tokens if self.tokens else float("nan")

    def told(self) -> dict[str, Any]:
        """Everything in JSON values, sizes also a token."""
        each = {
            name: round(size / self.tokens, 3) for name, size in self.columns_bytes.items() if self.tokens
        }
        return {
            "requests": self.requests,
            "exchanges": self.exchanges,
            "tokens": self.tokens,
            "kinds": dict(self.kinds),
            "alternatives": round(self.alternatives, 2),
            "tokens_bytes": self.tokens_bytes,
            "exchanges_bytes": self.exchanges_bytes,
            "bytes_per_token": round(self.bytes_per_token, 3) if self.tokens else None,
            "columns_bytes_per_token": each,
        }


def measure(folder: str | Path) -> Sizes:
    """Measure a sealed folder; no token is unpacked.

    Raises:
        TranscriptError: The folder is not sealed, or a file is damaged.
    """
    place = Path(folder)
    if not layout.is_sealed(place):
        raise TranscriptError(f"{place}: sizes are known once the transcripts are sealed, and these are not")
    tokens, exchanges = place / layout.TOKENS_FILE, place / layout.EXCHANGES_FILE
    kinds: Counter[str] = Counter()
    weighted = 0
    try:
        told = pq.read_table(
            tokens, columns=["positions", "alternatives", "top_ids_bits", "sampled_counts_bits"]
        )
        for row in told.to_pylist():
            kinds[_kind(row)] += row["positions"]
            weighted += row["positions"] * row["alternatives"]
        columns = _columns(pq.read_metadata(tokens))
        names = pq.read_table(exchanges, columns=["request_id"]).column(0)
    except (OSError, pa.ArrowException) as error:
        raise TranscriptError(f"{place}: not the files of a transcript: {error}") from error
    return Sizes(
        requests=len(names.unique()),
        exchanges=len(names),
        tokens=kinds.total(),
        kinds=kinds,
        alternatives=weighted / kinds.total() if kinds.total() else 0.0,
        columns_bytes=columns,
        tokens_bytes=tokens.stat().st_size,
        exchanges_bytes=exchanges.stat().st_size,
    )


def _kind(row: Mapping[str, Any]) -> str:
    if row["sampled_counts_bits"] is not None:
        return "sampled"
    if row["top_ids_bits"] is not None:
        return "top_ids"
    return "top_bytes" if row["alternatives"] else "none"


def _columns(metadata: pq.FileMetaData) -> dict[str, int]:
    sizes: Counter[str] = Counter()
    for group in range(metadata.num_row_groups):
        for place in range(metadata.num_columns):
            column = metadata.row_group(group).column(place)
            sizes[column.path_in_schema.partition(".")[0]] += column.total_compressed_size
    return dict(sizes)
