"""Means with intervals: over prompts, because tokens of one answer are not independent."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.stats.intervals import clopper_pearson

DRAWS = 1000
Float64 = npt.NDArray[np.float64]


def rate(hits: Sequence[bool]) -> dict[str, Any] | None:
    """A share of independent prompts with its exact interval; None without any.

    Returns:
        `value, low, high` in [0, 1], and `n`.
    """
    if not len(hits):
        return None
    count = sum(map(bool, hits))
    low, high = clopper_pearson(count, len(hits))
    return {"value": count / len(hits), "low": low, "high": high, "n": len(hits)}


def ratio(sums: Sequence[float], counts: Sequence[float], seed: int) -> dict[str, Any] | None:
    """Sum over count, with a percentile bootstrap over prompts; None where nothing was counted.

    Args:
        sums: Of each prompt, e.g. nats over its tokens.
        counts: Of each prompt, e.g. its tokens.
        seed: Of the resamples.

    Returns:
        `value, low, high` (95 %), and `n` prompts.

    References:
        Davison and Hinkley (1997), Bootstrap Methods and their Application.
    """
    top, bottom = np.asarray(sums, np.float64), np.asarray(counts, np.float64)
    if not bottom.sum() > 0:
        return None
    picks = _picks(len(top), seed)
    below = picks @ bottom
    found = (picks @ top)[below > 0] / below[below > 0]
    low, high = np.quantile(found, [0.025, 0.975])
    value = float(top.sum() / bottom.sum())
    return {"value": value, "low": float(low), "high": float(high), "n": len(top)}


def difference(left: Sequence[bool], right: Sequence[bool], seed: int) -> dict[str, Any] | None:
    """Difference of two shares on the same prompts, with a paired percentile bootstrap; None without any prompt."""
    gaps = np.asarray(left, np.float64) - np.asarray(right, np.float64)
    return ratio(gaps.tolist(), [1.0] * len(gaps), seed) if len(gaps) else None


def _picks(count: int, seed: int) -> Float64:
    """How often each prompt is in each resample, shape (draws, count)."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(count, np.full(count, 1 / count), size=DRAWS).astype(np.float64)
