"""D7: a small share of extraction requests inside ordinary traffic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.features.session import Rows
from kdguard.features.signals import MARGIN_SCALE
from kdguard.scan import Column, Detector, Floats, State

_EDGES_NATS = np.array([-4, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15], np.float64)
_BINS = len(_EDGES_NATS) + 1
_TECHNIQUES = 12


@dataclass(frozen=True)
class MixtureTail(Detector):
    """How far the tail of request scores sticks out of what reference accounts show.

    `contamination` is the likelihood ratio of a two-part mixture, (1 - e) ordinary + e extraction, maximised over e:
    the most powerful statistic against dilution when the parts are known (Donoho and Jin 2004, Ann. Statist.
    32:962-994, section 1). The ordinary part is the reference accounts' own distribution of request scores, each
    account weighing the same; the extraction part tilts it by the classifier's odds. `focus` is the same for the
    single most frequent technique among high-scoring requests: a campaign works with one.

    Attributes:
        benign: Share of reference requests in each score bin, shape (16,).
        technique_rates: Share of reference requests that score above 3 nats, by technique, shape (12,).
    """

    benign: npt.NDArray[np.float64] | None = None
    technique_rates: npt.NDArray[np.float64] | None = None
    name: ClassVar[str] = "mixture_tail"
    outputs: ClassVar[tuple[str, ...]] = ("contamination", "focus")
    resolution: ClassVar[tuple[float, ...]] = (0.5, 0.5)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Histogram of margins, and high-scoring requests by technique."""
        return Column("bins", "int32", _BINS), Column("techniques", "int32", _TECHNIQUES)

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Put each row in its bin."""
        bins = np.zeros((len(rows), _BINS), np.int32)
        place = np.searchsorted(_EDGES_NATS * MARGIN_SCALE, rows.margin, side="right")
        bins[np.arange(len(rows)), place] = rows.has_text
        techniques = np.zeros((len(rows), _TECHNIQUES), np.int32)
        high = rows.has_text & (rows.margin > 3 * MARGIN_SCALE)
        techniques[np.arange(len(rows)), rows.technique] = high
        return {"bins": bins, "techniques": techniques}

    def fit(self, rows: Rows) -> MixtureTail:
        """Learn the ordinary part; each account weighs the same, so one heavy user cannot define it."""
        state = self.update(self.create(), rows)
        bins = state.columns["bins"].astype(np.float64)
        total = bins.sum(axis=1)
        keep = total > 0
        if not keep.any():
            return self
        share = (bins[keep] / total[keep, None]).mean(axis=0)
        rates = (state.columns["techniques"][keep] / total[keep, None]).mean(axis=0)
        # Add half a request, so that a bin never seen in the reference is rare, not impossible.
        half = 0.5 / total.sum()
        return MixtureTail((share + half) / (1 + half * _BINS), rates + half)

    def scores(self, state: State) -> Floats:
        """Return log(1 + likelihood ratio in nats) of both: the ratios have heavy tails among honest accounts."""
        benign, rates = self._benign(), self._rates()
        bins = state.columns["bins"].astype(np.float64)
        centres = np.concatenate(([-5.0], (_EDGES_NATS[1:] + _EDGES_NATS[:-1]) / 2, [16.0]))
        tilt = benign * np.exp(np.minimum(centres, 8.0))
        ratio = np.maximum(tilt / tilt.sum() / benign, 1e-3)
        weights = np.array([0.0, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.0])
        gain = np.log1p(weights[:, None] * (ratio - 1)[None, :])
        # Row-wise sums, not a matrix product: BLAS rounds differently for different numbers of subjects.
        contamination = np.max([(bins * row).sum(axis=1) for row in gain], axis=0)
        total = bins.sum(axis=1)
        high = state.columns["techniques"].astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            share = high / total[:, None]
            excess = high * np.log(share / rates) + (total[:, None] - high) * np.log(
                (1 - share) / (1 - rates)
            )
        focus = np.where(share > rates, np.nan_to_num(excess, nan=0.0, posinf=0.0, neginf=0.0), 0.0)
        full = np.all(high == total[:, None], axis=1)
        focus_best = focus.max(axis=1)
        saturated = (share >= 1) & (total[:, None] > 0)
        focus_best = np.maximum(
            focus_best, np.where(saturated, -total[:, None] * np.log(rates), 0).max(axis=1)
        )
        scores = np.log1p(np.stack([contamination, focus_best], axis=1))
        return np.where((total > 0)[:, None] & ~full[:, None], scores, np.nan)

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        if output == "focus":
            return "high-scoring requests concentrate on one extraction technique"
        return "some requests stand out as extraction against an otherwise ordinary background"

    def _benign(self) -> npt.NDArray[np.float64]:
        return self.benign if self.benign is not None else np.full(_BINS, 1 / _BINS)

    def _rates(self) -> npt.NDArray[np.float64]:
        return self.technique_rates if self.technique_rates is not None else np.full(_TECHNIQUES, 0.01)
