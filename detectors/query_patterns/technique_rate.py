"""D3: how much an account's requests, taken together, read like extraction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.features.session import Rows
from kdguard.features.signals import MARGIN_SCALE
from kdguard.scan import Column, Detector, Floats, State


@dataclass(frozen=True)
class TechniqueRate(Detector):
    """Mean clipped log-odds of extraction wording, scaled by the root of the number of requests.

    Clipping keeps one strange prompt from speaking for an account (log-scoring reference, D1 and D3).

    Attributes:
        clip_nats: Log-odds are cut to [-clip_nats, clip_nats].
    """

    clip_nats: float = 6.0
    name: ClassVar[str] = "technique_rate"
    outputs: ClassVar[tuple[str, ...]] = ("mean",)
    resolution: ClassVar[tuple[float, ...]] = (1.0,)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Requests with text, and the sum of their clipped margins."""
        return Column("n", "int64"), Column("margin", "int64")

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Clip each row's margin; rows without text add nothing."""
        bound = round(self.clip_nats * MARGIN_SCALE)
        margin = np.clip(rows.margin, -bound, bound)
        return {"n": rows.has_text.astype(np.int64), "margin": np.where(rows.has_text, margin, 0)}

    def scores(self, state: State) -> Floats:
        """Return nats per request times sqrt(n)."""
        count = state.columns["n"].astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            score = state.columns["margin"] / MARGIN_SCALE / np.sqrt(count)
        return np.where(count > 0, score, np.nan)

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        return "requests use extraction wording more often than the reference accounts"
