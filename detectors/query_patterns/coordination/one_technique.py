"""X4: different owners use the same extraction technique."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.query_patterns.coordination.one_meaning import mean_product
from kdguard.evidence import Guarantee
from kdguard.scoring.groups.pooled import HalfOne
from kdguard.scoring.groups.traces import TECHNIQUES

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

    def measure(self, half: HalfOne) -> Floats:
        """Root of the mean over pairs of owners of the chance; 1 = every request of every owner."""
        rows = half.rows
        profile = np.zeros((len(rows), TECHNIQUES))
        profile[np.arange(len(rows)), rows.technique] = rows.has_text & (rows.margin > 0)
        return np.sqrt(np.maximum(mean_product(half, profile), 0.0))

    def explain(self, value: float) -> str:
        """Say it in words."""
        return f"about {value:.0%} of each owner's requests read like one and the same extraction technique"
