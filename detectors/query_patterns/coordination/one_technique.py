"""X4: different owners use the same extraction technique."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.query_patterns.coordination.one_meaning import mean_product
from kdguard.evidence import Guarantee
from kdguard.scoring.groups.pooled import HalfOne
from kdguard.scoring.groups.traces import UNFAMILIAR, UNFAMILIAR_BELOW, UNFAMILIAR_BYTES, WORDINGS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OneTechnique:
    """Chance that requests of two different owners both read like extraction, and by the same technique.

    A single heavy look-alike cannot raise it, and honest owners who each look a little like something look like
    different things.
    """

    name: str = "one_technique"
    version: str = "1"
    guarantee: Guarantee = Guarantee.DESCRIPTIVE
    weight: float = 1.0
    supporting: bool = False

    def measure(self, half: HalfOne) -> Floats:
        """Root of the mean over pairs of owners of the chance; 1 = every request of every owner."""
        rows = half.rows
        profile = np.zeros((len(rows), WORDINGS))
        profile[np.arange(len(rows)), rows.technique] = rows.has_text & (rows.margin > 0)
        profile[:, UNFAMILIAR] = (
            rows.has_text & (rows.familiarity < UNFAMILIAR_BELOW) & (rows.prompt_bytes >= UNFAMILIAR_BYTES)
        )
        return np.sqrt(np.maximum(mean_product(half, profile), 0.0))

    def score(self, value: Floats, units: npt.NDArray[np.int64]) -> Floats:
        """log2 of one more than the owners that share it."""
        return np.log2(1.0 + units * np.maximum(value, 0.0))

    def explain(self, value: float) -> str:
        """Say it in words."""
        return f"about {value:.0%} of each owner's requests read like one extraction technique, or like random text"
