"""Intervals for rates."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import beta


def clopper_pearson(hits: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Exact two-sided interval for a binomial rate.

    Raises:
        ValueError: hits lies outside [0, trials].

    References:
        Clopper and Pearson (1934), Biometrika 26:404-413.
    """
    if not 0 <= hits <= trials:
        raise ValueError(f"hits must lie in [0, {trials}], got {hits}")
    tail = (1 - confidence) / 2
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, trials - hits + 1))
    high = 1.0 if hits == trials else float(beta.ppf(1 - tail, hits + 1, trials - hits))
    return low, high


def clustered_rate(
    hits: npt.NDArray[np.bool_],
    clusters: npt.NDArray[np.generic],
    *,
    draws: int,
    rng: np.random.Generator,
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Mean of a 0/1 outcome with a percentile bootstrap that resamples whole clusters.

    Args:
        hits: Outcome of each subject, shape (m,).
        clusters: Cluster (owner) of each subject, shape (m,).
        draws: Bootstrap resamples.
        rng: Source of the resamples.
        confidence: Two-sided confidence.

    Returns:
        Rate, lower and upper bound; NaN where m = 0.

    References:
        Davison and Hinkley (1997), section 3.8.
    """
    if not len(hits):
        return float("nan"), float("nan"), float("nan")
    _, code = np.unique(clusters, return_inverse=True)
    size = np.bincount(code).astype(np.float64)
    found = np.bincount(code, weights=hits.astype(np.float64))
    picks = rng.multinomial(len(size), np.full(len(size), 1 / len(size)), size=draws)
    rates = (picks @ found) / (picks @ size)
    tail = (1 - confidence) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return float(found.sum() / size.sum()), float(low), float(high)
