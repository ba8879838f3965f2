"""Random-text queries: ordinary words in an order that nobody uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.detectors.query_patterns.mixture import (
    FEWEST_REQUESTS,
    SHARES,
    learn_shares,
    log10_bayes_factor,
    ordinary_part,
)
from kdguard.features.familiarity import SCALE
from kdguard.features.session import Rows
from kdguard.scan import Column, Detector, Floats, State

_BINS = 10
_MOST_REQUESTS = 40.0
_RANDOM_BINS = 6
"""Texts fewer than six tenths of whose common pairs are known count as the random part's own."""


@dataclass(frozen=True)
class Novelty(Detector):
    """Log10 Bayes factor of some share of random texts, after the familiarity of each text's word pairs.

    Knock-off queries (Krishna et al. 2020, arXiv 1910.12366; Orekondy et al. 2019, arXiv 1812.02766) are sampled
    words or sentences. The random part is spread evenly below six tenths of known pairs; texts with fewer than six
    pairs of common words say nothing. See `mixture` for the statistic.

    Attributes:
        benign: Share of reference texts in each tenth of familiarity, shape (10,).
        honest: Distribution of the share of random texts among reference accounts, shape (42,).
    """

    benign: npt.NDArray[np.float64] | None = None
    honest: npt.NDArray[np.float64] | None = None
    name: ClassVar[str] = "novelty"
    version: ClassVar[str] = "2"
    outputs: ClassVar[tuple[str, ...]] = ("random_text",)
    resolution: ClassVar[tuple[float, ...]] = (0.5,)
    log10_e: ClassVar[tuple[str, ...]] = ("random_text",)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Texts in each tenth of familiarity."""
        return (Column("bins", "int32", _BINS),)

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Put each text in its bin."""
        bins = np.zeros((len(rows), _BINS), np.int32)
        place = np.clip(rows.familiarity * _BINS // SCALE, 0, _BINS - 1)
        bins[np.arange(len(rows)), place] = rows.has_text & (rows.familiarity >= 0)
        return {"bins": bins}

    def fit(self, rows: Rows) -> Novelty:
        """Learn how familiar reference accounts' texts are, each account weighing the same."""
        bins = self.update(self.create(), rows).columns["bins"].astype(np.float64)
        bins = bins[bins.sum(axis=1) >= FEWEST_REQUESTS]
        if not len(bins):
            return self
        benign = ordinary_part(bins)
        return Novelty(benign, learn_shares(bins, _ratio(benign), _MOST_REQUESTS))

    def scores(self, state: State) -> Floats:
        """Return the log10 Bayes factor; NaN where no text can be judged."""
        bins = state.columns["bins"].astype(np.float64)
        benign = self.benign if self.benign is not None else np.full(_BINS, 1 / _BINS)
        honest = self.honest if self.honest is not None else np.full(len(SHARES), 1 / len(SHARES))
        score = log10_bayes_factor(bins, _ratio(benign), honest, _MOST_REQUESTS)
        return np.where(bins.sum(axis=1) > 0, score, np.nan)[:, None]

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        return f"texts put common words together as nobody else does: 10^{score:.1f} times likelier if random"


def _ratio(benign: Floats) -> Floats:
    random = np.full(_BINS, 0.01)
    random[:_RANDOM_BINS] = 1 / _RANDOM_BINS
    return random / random.sum() / benign
