"""X1: owners who both ask, in most of their requests, for what few customers ask for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.query_patterns.coordination import shared_values
from kdguard.scoring.groups.ties import Pairs, Scene

_KINDS = ("options",)


@dataclass(frozen=True)
class Options:
    """Log-probabilities, token biases or several answers, weighed by how few honest owners ask for them.

    Token probabilities are what logit-level extraction needs (Carlini et al. 2024, arXiv 2403.06634; Finlayson et al.
    2024, arXiv 2403.09539). Evaluations ask for them too, so the coincidence alone is light.
    """

    name: str = "options"
    words: str = ""

    def propose(self, scene: Scene) -> Pairs:
        """Owners of one rare option."""
        return shared_values.propose(scene, _KINDS)

    def weigh(self, scene: Scene, pairs: Pairs) -> npt.NDArray[np.float64]:
        """Rarity of the option among honest owners."""
        return shared_values.weigh(scene, pairs, _KINDS)[:, 0]
