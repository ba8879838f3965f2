"""Medians and their intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

RESAMPLES = 4_000


class Interval(NamedTuple):
    """A median with a 95 % bootstrap interval."""

    median: float
    low: float
    high: float

    def told(self, digits: int) -> list[float]:
        """Rounded, for JSON."""
        return [round(value, digits) for value in self]


def median_interval(values: Sequence[float], seed: int = 0) -> Interval:
    """Median over turns or seeds, with the 2.5 % and 97.5 % quantiles of the medians of resamples.

    References:
        Efron & Tibshirani (1993), An Introduction to the Bootstrap, section 13.3.
    """
    given = np.asarray(values, np.float64)
    drawn = np.random.default_rng(seed).integers(len(given), size=(RESAMPLES, len(given)))
    medians = np.median(given[drawn], axis=1)
    low, high = np.quantile(medians, (0.025, 0.975))
    return Interval(float(np.median(given)), float(low), float(high))
