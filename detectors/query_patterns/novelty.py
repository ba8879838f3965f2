"""Random-text queries: ordinary words in an order that nobody uses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.features.familiarity import SCALE
from kdguard.features.session import Rows
from kdguard.scan import Column, Detector, Floats, State

_BINS = 12
_LONG_BYTES = 40


@dataclass(frozen=True)
class Novelty(Detector):
    """How unfamiliar word pairs are, on average and in the least familiar part of the traffic.

    Knock-off queries (Krishna et al. 2020, arXiv 1910.12366; Orekondy et al. 2019, arXiv 1812.02766) are sampled
    words or sentences. Texts under 40 bytes carry too few pairs and are left out. `tail` is the likelihood ratio of
    the account's histogram against the reference's mean histogram, counted where the account has more of the least
    familiar texts (Donoho and Jin 2004).

    Attributes:
        benign: Share of reference texts in each bin of familiarity, shape (12,).
    """

    benign: npt.NDArray[np.float64] | None = None
    name: ClassVar[str] = "novelty"
    outputs: ClassVar[tuple[str, ...]] = ("mean", "tail")
    resolution: ClassVar[tuple[float, ...]] = (0.25, 0.5)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Texts, sum of familiarity, histogram of familiarity."""
        return Column("n", "int64"), Column("sum", "int64"), Column("bins", "int32", _BINS)

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Put each long enough text in its bin of half a doubling."""
        counted = rows.has_text & (rows.prompt_bytes >= _LONG_BYTES)
        bins = np.zeros((len(rows), _BINS), np.int32)
        place = np.minimum(rows.familiarity // (SCALE // 2), _BINS - 1)
        bins[np.arange(len(rows)), place] = counted
        return {
            "n": counted.astype(np.int64),
            "sum": np.where(counted, rows.familiarity, 0).astype(np.int64),
            "bins": bins,
        }

    def fit(self, rows: Rows) -> Novelty:
        """Learn how familiar reference accounts' texts are, each account weighing the same."""
        bins = self.update(self.create(), rows).columns["bins"].astype(np.float64)
        total = bins.sum(axis=1)
        if not (total > 0).any():
            return self
        share = (bins[total > 0] / total[total > 0, None]).mean(axis=0)
        return Novelty((share + 0.5 / total.sum()) / (1 + 0.5 * _BINS / total.sum()))

    def scores(self, state: State) -> Floats:
        """Return minus the mean familiarity, and log(1 + likelihood ratio of the tail in nats)."""
        count = state.columns["n"][:, 0].astype(np.float64)
        benign = self.benign if self.benign is not None else np.full(_BINS, 1 / _BINS)
        below = np.cumsum(benign)
        seen = np.cumsum(state.columns["bins"].astype(np.float64), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = -state.columns["sum"][:, 0] / count / SCALE
            share = seen / count[:, None]
            gain = seen * np.log(share / below)
            rest = (count[:, None] - seen) * np.log((1 - share) / (1 - below))
        ratio = np.nan_to_num(gain) + np.nan_to_num(rest, posinf=0.0, neginf=0.0)
        tail = np.log1p(np.where(share > below, ratio, 0.0)[:, :-1].max(axis=1, initial=0.0))
        scores = np.stack([mean, tail], axis=1)
        return np.where((count >= 5)[:, None], scores, np.nan)

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        if output == "mean":
            return f"neighbouring words rarely go together in ordinary prompts (familiarity {-score:.1f} doublings)"
        return "an unusual share of prompts is made of word pairs that ordinary prompts do not have"
