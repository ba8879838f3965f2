"""Rates with intervals that resample owners, campaigns or whole worlds, never single accounts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import binom

from kdguard.stats.intervals import clopper_pearson, clustered_rate

DRAWS = 1_000
FEWEST_WORLDS = 8
"""Worlds from which on whole worlds are resampled too: accounts of one world share a baseline."""

Key = Mapping[str, str | float | int]


@dataclass(frozen=True)
class Rate:
    """A share of accounts.

    Attributes:
        hits: Accounts counted.
        trials: Accounts that could have been.
        rate: hits / trials; NaN where there are none.
        low, high: 95 % interval, resampling clusters, and whole worlds where there are eight or more: the
            wider.
        upper: One-sided 95 % upper bound, likewise.
        clusters: Owners or campaigns behind it.
        abstained: Further accounts without a p-value; in power they are among the trials, as misses.
    """

    hits: int
    trials: int
    rate: float
    low: float
    high: float
    upper: float
    clusters: int
    abstained: int = 0


@dataclass(frozen=True)
class Cell:
    """One rate of a table.

    Attributes:
        key: What it is the rate of.
        rate: The rate.
        exact_p: Chance of at least so many alarms if the true rate were 2 %, one account an owner; None =
            not asked.
    """

    key: Key
    rate: Rate
    exact_p: float | None = None

    def to_json(self) -> dict[str, Any]:
        """One flat object."""
        return (
            dict(self.key) | asdict(self.rate) | ({} if self.exact_p is None else {"exact_p": self.exact_p})
        )


def rate_of(
    hits: npt.NDArray[np.bool_],
    clusters: npt.NDArray[Any],
    worlds: npt.NDArray[Any],
    *,
    abstained: int = 0,
    seed: int = 0,
) -> Rate:
    """Rate of a 0/1 outcome of m accounts.

    Args:
        hits: Outcome, shape (m,).
        clusters: Owner or campaign, shape (m,); the same name in two worlds counts as two.
        worlds: World, shape (m,).
        abstained: Accounts without a p-value, carried along.
        seed: Seed of the resamples.
    """
    if not len(hits):
        nan = float("nan")
        return Rate(0, 0, nan, nan, nan, nan, 0, abstained)
    code = pd.factorize(pd.MultiIndex.from_arrays([worlds, clusters]))[0]
    size = int(code.max()) + 1
    found = [_bounds(hits, code, size, seed)]
    if len(np.unique(worlds)) >= FEWEST_WORLDS:
        found.append(_bounds(hits, worlds, size, seed))
    return Rate(
        hits=int(hits.sum()),
        trials=len(hits),
        rate=float(hits.mean()),
        low=min(low for low, _, _ in found),
        high=max(high for _, high, _ in found),
        upper=max(upper for _, _, upper in found),
        clusters=size,
        abstained=abstained,
    )


def _bounds(
    hits: npt.NDArray[np.bool_], clusters: npt.NDArray[Any], size: int, seed: int
) -> tuple[float, float, float]:
    """Two-sided 95 % and one-sided upper 95 % bounds; exact over clusters where all outcomes are alike."""
    if hits.all() or not hits.any():
        all_or_none = size if hits.all() else 0
        return (*clopper_pearson(all_or_none, size), clopper_pearson(all_or_none, size, 0.9)[1])
    rng = np.random.default_rng(seed)
    _, low, high = clustered_rate(hits, clusters, draws=DRAWS, rng=rng)
    rng = np.random.default_rng(seed)
    _, _, upper = clustered_rate(hits, clusters, draws=DRAWS, rng=rng, confidence=0.9)
    return low, high, upper


def exact_excess(hits: int, trials: int, rate: float) -> float:
    """Chance of at least `hits` of `trials` under a binomial rate."""
    return float(binom.sf(hits - 1, trials, rate)) if trials else 1.0
