"""X3: different owners fill the same prompt frame, each with contents of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.detectors.query_patterns.coordination.alike import Alike, Floats, across_owners
from kdguard.scoring.groups.pooled import HalfOne


@dataclass(frozen=True)
class OneFrame(Alike):
    """Chance that requests of two different owners share first or last words, while their texts differ.

    Disjoint shards of one task list leave many shared frames and few shared texts; a popular benchmark or a copied
    prompt leaves both, so shared texts are taken off (log-scoring reference, X3: complementary shards).
    """

    name = "one_frame"

    def measure(self, half: HalfOne) -> Floats:
        """Larger chance of the two ends, less the chance of the same text."""
        rows = half.rows
        ends = [across_owners(half, codes) for codes in (rows.head, rows.tail)]
        return np.clip(np.fmax(*ends) - across_owners(half, rows.text), 0.0, 1.0)

    def explain(self, value: float) -> str:
        """Say it in words."""
        return f"with chance {value:.2f} two owners' requests begin or end with the same words, and differ otherwise"
