"""D5: traffic that is narrower, or broader, than honest accounts of its kind."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.features.embedding import SIGNS, unpack
from kdguard.features.session import Rows
from kdguard.scan import Column, Detector, Floats, State
from kdguard.stats.sketches import HLL_REGISTERS, hll_estimate, hll_registers


@dataclass(frozen=True)
class Coverage(Detector):
    """How alike an account's prompts are, looked at from both sides.

    `narrow` is the mean similarity of two different requests, 1 - 2 angle/pi, from sums of random-hyperplane signs
    (Charikar 2002): unbiased, additive, no pair is ever formed. `broad` is its negative together with the share of
    new regions visited, after B4B (Dubinski et al. 2023, arXiv 2310.08571), whose one-sided form misses campaigns
    that are narrow.
    """

    name: ClassVar[str] = "coverage"
    outputs: ClassVar[tuple[str, ...]] = ("narrow", "broad")
    resolution: ClassVar[tuple[float, ...]] = (0.02, 0.05)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Sign sums and distinct regions (the first 12 signs)."""
        return (
            Column("n", "int32"),
            Column("signs", "int32", SIGNS),
            Column("regions", "uint8", HLL_REGISTERS, "max"),
        )

    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Unpack each row's signs."""
        from kdguard.features.text import mix

        region = rows.signs[:, 0].astype(np.uint64) * np.uint64(16) + (rows.signs[:, 1] >> 4)
        return {
            "n": rows.has_text.astype(np.int32),
            "signs": unpack(rows.signs) * rows.has_text[:, None],
            "regions": hll_registers(np.where(rows.has_text, mix(region + np.uint64(1)), np.uint64(0))),
        }

    def scores(self, state: State) -> Floats:
        """Return mean similarity, and distinct regions a request less mean similarity."""
        count = state.columns["n"][:, 0].astype(np.float64)
        energy = np.square(state.columns["signs"].astype(np.float64)).sum(axis=1) / SIGNS
        with np.errstate(divide="ignore", invalid="ignore"):
            similarity = (energy - count) / (count * (count - 1))
            regions = np.minimum(hll_estimate(state.columns["regions"]) / np.minimum(count, 2000), 1)
        narrow = np.where(count < 2, np.nan, similarity)
        return np.stack([narrow, regions - narrow], axis=1)

    def explain(self, output: str, score: float) -> str:
        """Say it in words."""
        if output == "narrow":
            return f"prompts are closer to each other than usual (mean similarity {score:.2f})"
        return f"prompts spread over more subjects than usual (spread {score:.2f})"
