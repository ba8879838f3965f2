"""What only a group can show, measured on half 1: the protocol by which detectors supply it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Guarantee
from kdguard.scoring.groups.pooled import HalfOne

Floats = npt.NDArray[np.float64]


@runtime_checkable
class GroupStatistic(Protocol):
    """A measure of how much the units of a group (its owners) act as one.

    Only coincidences between different units count: what the accounts of one owner share says nothing.

    Attributes:
        name: Names the statistic in evidence, after "coordination.".
        weight: Its weight in a group's score.
    """

    name: str
    version: str
    guarantee: Guarantee
    weight: float

    def measure(self, half: HalfOne) -> Floats:
        """Larger = more alike, shape (g,); NaN = cannot tell."""
        ...

    def score(self, value: Floats, units: npt.NDArray[np.int64]) -> Floats:
        """Put measures on the scale of the group's score, given how many units show them; 0 = ordinary."""
        ...

    def explain(self, value: float) -> str:
        """Put a value into a sentence a person can check."""
        ...
