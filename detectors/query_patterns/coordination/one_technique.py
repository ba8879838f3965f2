"""X4: different owners use the same extraction technique."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.detectors.query_patterns.coordination.alike import Alike, Floats, mean_product
from kdguard.scoring.groups.pooled import HalfOne
from kdguard.scoring.groups.traces import UNFAMILIAR, UNFAMILIAR_BELOW, WORDINGS


@dataclass(frozen=True)
class OneTechnique(Alike):
    """Chance that requests of two different owners both read like extraction, and by the same technique.

    A single heavy look-alike cannot raise it, and honest owners who each look a little like something look like
    different things.
    """

    name = "one_technique"

    def measure(self, half: HalfOne) -> Floats:
        """Root of the mean over pairs of owners of the chance; 1 = every request of every owner."""
        rows = half.rows
        profile = np.zeros((len(rows), WORDINGS))
        profile[np.arange(len(rows)), rows.technique] = rows.has_text & (rows.margin > 0)
        profile[:, UNFAMILIAR] = (
            rows.has_text & (rows.familiarity >= 0) & (rows.familiarity < UNFAMILIAR_BELOW)
        )
        return np.sqrt(np.maximum(mean_product(half, profile), 0.0))

    def explain(self, value: float) -> str:
        """Say it in words."""
        return f"about {value:.0%} of each owner's requests read like one extraction technique, or like random text"
