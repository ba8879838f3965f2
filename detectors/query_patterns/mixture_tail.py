"""D7: a share of extraction requests, small or whole, inside an account's traffic."""

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
from kdguard.features.session import Rows
from kdguard.features.signals import MARGIN_SCALE
from kdguard.scan import Column, Detector, Floats, State

_EDGES_NATS = np.array([-4, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15], np.float64)
_BINS = len(_EDGES_NATS) + 1
_TECHNIQUES = 12
_CREDIBLE_NATS = 8.0
_MOST_REQUESTS = 320.0


@dataclass(frozen=True)
class MixtureTail(Detector):
    """How much likelier an account's request scores are under some share of extraction than among honest accounts.

    `contamination` is the base-10 log of a Bayes factor: the shares of extraction that attacks have, against those
    that honest accounts have, whose work looks like extraction now and then (see `mixture`). The ordinary part is the
    reference accounts' distribution of request scores; the extraction part tilts it by the classifier's odds.
    `focus` asks whether high scores share one technique.

    Decision, 2026-11-23. The likelihood ratio maximised over r, standardised at each checkpoint by what few
    references reach it, had a threshold ruled by early and by heavy accounts; on the same accounts the Bayes factor
    raised power at 5 % of 100 requests from .08 to .8 and more.

    Attributes:
        benign: Share of reference requests in each score bin, shape (16,).
        honest: Share of reference accounts at each contamination of the grid, shape (42,).
        technique_rates: Share of reference requests that score above 3 nats, by technique, shape (12,).
    """

    benign: npt.NDArray[np.float64] | None = None
    honest: npt.NDArray[np.float64] | None = None
    technique_rates: npt.NDArray[np.float64] | None = None
    name: ClassVar[str] = "mixture_tail"
    version: ClassVar[str] = "2"
    outputs: ClassVar[tuple[str, ...]] = ("contamination", "focus")
    resolution: ClassVar[tuple[float, ...]] = (0.5, 0.5)
    log10_e: ClassVar[tuple[str, ...]] = ("contamination",)

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
        """Learn the ordinary part and honest accounts' shares; each account weighs the same."""
        state = self.update(self.create(), rows)
        bins = state.columns["bins"].astype(np.float64)
        keep = bins.sum(axis=1) >= FEWEST_REQUESTS
        if not keep.any():
            return self
        total = bins[keep].sum(axis=1)
        rates = (state.columns["techniques"][keep] / total[:, None]).mean(axis=0) + 0.5 / total.sum()
        benign = ordinary_part(bins[keep])
        return MixtureTail(benign, learn_shares(bins[keep], _ratio(benign), _MOST_REQUESTS), rates)

    def scores(self, state: State) -> Floats:
        """Return the log10 Bayes factor, and log(1 + nats) of the most concentrated technique."""
        bins = state.columns["bins"].astype(np.float64)
        total = bins.sum(axis=1)
        contamination = log10_bayes_factor(bins, _ratio(self._benign()), self._honest(), _MOST_REQUESTS)
        focus = np.log1p(_concentration(state.columns["techniques"].astype(np.float64), total, self._rates()))
        return np.where((total > 0)[:, None], np.stack([contamination, focus], axis=1), np.nan)

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        if output == "focus":
            return "high-scoring requests concentrate on one extraction technique"
        return f"extraction wording in part of the requests is 10^{score:.1f} times likelier than among references"

    def _benign(self) -> npt.NDArray[np.float64]:
        return self.benign if self.benign is not None else np.full(_BINS, 1 / _BINS)

    def _honest(self) -> npt.NDArray[np.float64]:
        return self.honest if self.honest is not None else np.full(len(SHARES), 1 / len(SHARES))

    def _rates(self) -> npt.NDArray[np.float64]:
        return self.technique_rates if self.technique_rates is not None else np.full(_TECHNIQUES, 0.01)


def _ratio(benign: Floats) -> Floats:
    """Density of extraction over ordinary requests in each bin: the ordinary part, tilted by the classifier's odds."""
    centres = np.concatenate(([-5.0], (_EDGES_NATS[1:] + _EDGES_NATS[:-1]) / 2, [16.0]))
    tilt = benign * np.exp(np.minimum(centres, _CREDIBLE_NATS))
    ratio: Floats = tilt / tilt.sum() / benign
    return ratio


def _concentration(high: Floats, total: Floats, rates: Floats) -> Floats:
    """Likelihood-ratio statistic, in nats, of the technique most over-represented among requests, shape (m,)."""
    share = high / np.maximum(total, 1)[:, None]
    rest = total[:, None] - high
    with np.errstate(divide="ignore", invalid="ignore"):
        seen = np.where(high > 0, high * np.log(share / rates), 0.0)
        unseen = np.where(rest > 0, rest * np.log((1 - share) / (1 - rates)), 0.0)
    return np.where(share > rates, seen + unseen, 0.0).max(axis=1)
