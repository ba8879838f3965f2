"""X1: different owners ask for the same rare options."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.detectors.query_patterns.coordination.alike import Alike, Floats, across_owners
from kdguard.features.signals import FLAGS
from kdguard.scoring.groups.pooled import HalfOne
from kdguard.scoring.groups.traces import ASKS_CHOICES, ASKS_PROBABILITIES


@dataclass(frozen=True)
class OneOption(Alike):
    """Chance that requests of two different owners both ask for token probabilities (or both for several answers).

    Asking for them is common among honest evaluations and carries no account; scores of unrelated owners who all ask
    are uncommon (Carlini et al. 2024, arXiv 2403.06634).
    """

    name = "one_option"

    def measure(self, half: HalfOne) -> Floats:
        """The chance, with token biases counted as asking for probabilities; NaN with fewer than two owners."""
        flags = half.rows.flags
        probabilities = flags & (FLAGS["logprobs"] | FLAGS["logit_bias"]) > 0
        choices = flags & FLAGS["many_choices"] > 0
        asked = np.where(probabilities, ASKS_PROBABILITIES, np.where(choices, ASKS_CHOICES, 0))
        return across_owners(half, asked.astype(np.uint64))

    def explain(self, value: float) -> str:
        """Say it in words."""
        return f"with chance {value:.2f} two owners' requests ask for the same rare option, such as log-probabilities"
