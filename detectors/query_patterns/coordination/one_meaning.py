"""X4: different owners ask about the same things in the same way."""

from __future__ import annotations

from dataclasses import dataclass

from kdguard.detectors.query_patterns.coordination.alike import Alike, Floats, mean_product
from kdguard.features.embedding import SIGNS, unpack
from kdguard.scoring.groups.pooled import HalfOne


@dataclass(frozen=True)
class OneMeaning(Alike):
    """Mean similarity of prompts of different owners, from sums of random-hyperplane signs.

    The kernel mean embedding of each owner is unbiased, so the product of two owners' is the mean similarity of
    their prompts (Charikar 2002; Gretton et al. 2012, JMLR 13:723-773); no pair of prompts is formed.
    """

    name = "one_meaning"
    weight = 0.5

    def measure(self, half: HalfOne) -> Floats:
        """Mean over pairs of owners of the inner product of their mean sign vectors, over 128."""
        return mean_product(half, unpack(half.rows.signs) * half.rows.has_text[:, None]) / SIGNS

    def explain(self, value: float) -> str:
        """Say it in words."""
        return f"prompts of different owners are closer than usual (mean similarity {value:.2f})"
