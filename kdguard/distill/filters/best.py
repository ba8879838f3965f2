"""Best of n: of several answers to one question, keep those that score highest."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from kdguard.distill.filters.pipeline import Mask, canonical_order
from kdguard.distill.transcripts.reader import Tokens
from kdguard.errors import TranscriptError

Score = Callable[[Mapping[str, Any]], float]


@dataclass(frozen=True, slots=True)
class BestOf:
    """Keeps the highest scores of each group; of equal scores, the first in canonical order.

    Attributes:
        score: Gets one exchange as a dictionary of its columns; higher is better.
        count: How many of a group stay.
        by: Columns that make a group: `("request_id",)` the choices of a request, `("prompt",)` all answers to a
            question however often it was asked.
    """

    score: Score
    count: int = 1
    by: tuple[str, ...] = ("request_id",)
    reason: str = "not_best"

    def __post_init__(self) -> None:
        if self.count < 1:
            raise TranscriptError(f"count must be at least 1, got {self.count}")

    def keep(self, exchanges: pa.Table) -> Mask:
        """See `Filter.keep`.

        Raises:
            TranscriptError: A score is NaN.
        """
        rows = exchanges.to_pylist()
        groups: defaultdict[tuple[Any, ...], list[tuple[float, int]]] = defaultdict(list)
        for row in canonical_order(exchanges).tolist():
            value = float(self.score(rows[row]))
            if math.isnan(value):
                raise TranscriptError(
                    f"a score must be a number, got NaN for request {rows[row]['request_id']}"
                )
            groups[tuple(rows[row][name] for name in self.by)].append((-value, row))
        good = np.zeros(len(rows), np.bool_)
        for group in groups.values():
            best = sorted(group, key=lambda scored: scored[0])[
                : self.count
            ]  # stable: ties keep canonical order
            good[[row for _, row in best]] = True
        return good


def mean_logprob(tokens: Tokens) -> Score:
    """A score: the mean log-probability of the tokens of an answer, in nats; minus infinity where none were told."""

    def score(row: Mapping[str, Any]) -> float:
        trace = tokens.get(row["request_id"], row["choice"])
        return float(trace.logprob.mean(dtype=np.float64)) if trace is not None and len(trace) else -math.inf

    return score
