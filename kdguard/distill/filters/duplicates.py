"""Filters that keep one of several equal, or nearly equal, exchanges."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import orjson
import pyarrow as pa

from kdguard.distill.filters.minhash import BANDS, band_keys, shingles
from kdguard.distill.filters.pipeline import Mask, canonical_order
from kdguard.errors import TranscriptError

LEAST_THRESHOLD = 0.8


@dataclass(frozen=True, slots=True)
class ExactDuplicates:
    """Keeps the first of the exchanges that are equal in all the given columns.

    Attributes:
        columns: What must be equal, to the letter.
    """

    columns: tuple[str, ...] = (
        "messages",
        "prompt",
        "system",
        "response",
        "reasoning",
        "tool_calls",
        "label",
    )
    reason: str = "duplicate"

    def keep(self, exchanges: pa.Table) -> Mask:
        """See `Filter.keep`."""
        rows = exchanges.select(list(self.columns)).to_pylist()
        codes = [blake2b(orjson.dumps(list(row.values())), digest_size=16).digest() for row in rows]
        seen: set[bytes] = set()
        good = np.zeros(len(rows), np.bool_)
        for row in canonical_order(exchanges).tolist():
            good[row] = codes[row] not in seen
            seen.add(codes[row])
        return good


@dataclass(frozen=True, slots=True)
class NearDuplicates:
    """Keeps an exchange if none kept before it, in canonical order, has nearly the same words.

    Candidates come from MinHash bands and are then compared exactly, so nothing is dropped below the threshold. Of
    pairs at similarity J, (1 - J^6)^20 are missed: 0.3 % at 0.8, one in 20,000 at 0.85, none to speak of above.
    Texts of one template meet in many bands: the time then grows with the square of their number (20,000 in half a
    minute; 20,000 different prompts in a second).

    Attributes:
        threshold: Jaccard similarity of the sets of word pairs, from 0.8 to 1.
        columns: Texts that are compared, put together; `("prompt",)` compares questions whatever was answered.
    """

    threshold: float = 0.9
    columns: tuple[str, ...] = ("prompt", "response")
    reason: str = "near_duplicate"

    def __post_init__(self) -> None:
        if not LEAST_THRESHOLD <= self.threshold <= 1:
            raise TranscriptError(f"threshold must be between {LEAST_THRESHOLD} and 1, got {self.threshold}")

    def keep(self, exchanges: pa.Table) -> Mask:
        """See `Filter.keep`."""
        texts = [exchanges.column(name).to_pylist() for name in self.columns]
        joined = pa.array(
            ["\n".join(part or "" for part in row) for row in zip(*texts, strict=True)], pa.string()
        )
        sets = shingles(joined)
        keys = band_keys(sets).tolist()
        buckets: list[dict[int, list[int]]] = [defaultdict(list) for _ in range(BANDS)]
        good = np.ones(len(keys), np.bool_)
        for row in canonical_order(exchanges).tolist():
            if not keys[row][0]:
                continue
            near = set().union(*(bucket.get(key, ()) for bucket, key in zip(buckets, keys[row], strict=True)))
            found = sets.similarities(row, np.fromiter(near, np.int64, len(near)))
            good[row] = not (found >= self.threshold).any()
            if good[row]:
                for bucket, key in zip(buckets, keys[row], strict=True):
                    bucket[key].append(row)
        return good
