"""D9, X1: owners who both move most of their traffic to a new model within a day of its first appearance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.query_patterns.coordination import shared_values
from kdguard.scoring.groups.ties import Pairs, Scene

_KINDS = ("pivot",)


@dataclass(frozen=True)
class Pivot:
    """Simultaneous pivots, weighed by how few honest owners pivot at all.

    One operator moved nearly half of its traffic within 24 hours of a release
    (https://www.anthropic.com/news/detecting-and-preventing-distillation-attacks; CISA AA26-251A names the same).
    Customers who benchmark on the first day do so too, and are what makes the coincidence weigh little where they are
    many.
    """

    name: str = "pivot"
    words: str = "a move to the new model within a day"

    def propose(self, scene: Scene) -> Pairs:
        """Owners who pivoted, each with the next in the order of their hashes."""
        return shared_values.propose(scene, _KINDS)

    def weigh(self, scene: Scene, pairs: Pairs) -> npt.NDArray[np.float64]:
        """Rarity of the pivot among honest owners."""
        return shared_values.weigh(scene, pairs, _KINDS)[:, 0]
