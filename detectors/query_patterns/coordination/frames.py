"""X1, X3: prompt frames that unrelated owners do not share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.query_patterns.coordination import shared_values
from kdguard.scoring.groups.ties import Pairs, Scene

_KINDS = ("head", "tail", "system")


@dataclass(frozen=True)
class Frames:
    """Shared first words, last words or system prompt.

    Campaigns send "variations of one prompt across hundreds of coordinated accounts"
    (https://www.anthropic.com/news/detecting-and-preventing-distillation-attacks): the frame stays while shards of
    one task list fill it. Frames that honest owners share, such as those of popular tools, weigh little.
    """

    name: str = "frames"
    words: str = ""

    def propose(self, scene: Scene) -> Pairs:
        """Owners of one rare frame."""
        return shared_values.propose(scene, _KINDS)

    def weigh(self, scene: Scene, pairs: Pairs) -> npt.NDArray[np.float64]:
        """The rarest frame shared: a prompt's two ends are one coincidence."""
        return shared_values.weigh(scene, pairs, _KINDS).max(axis=1, initial=0.0)
