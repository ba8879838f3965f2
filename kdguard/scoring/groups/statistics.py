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
    """

    @property
    def name(self) -> str:
        """Names the statistic in evidence, after "coordination."."""
        ...

    @property
    def version(self) -> str:
        """A new version never reuses an old calibration."""
        ...

    @property
    def guarantee(self) -> Guarantee:
        """Why its value may be believed."""
        ...

    @property
    def weight(self) -> float:
        """Its weight in a group's score."""
        ...

    @property
    def supporting(self) -> bool:
        """It counts only as far as other evidence does: an office shares an address and extracts nothing."""
        ...

    def measure(self, half: HalfOne) -> Floats:
        """Larger = more alike, shape (g,); NaN = cannot tell."""
        ...

    def score(self, value: Floats, units: npt.NDArray[np.int64]) -> Floats:
        """Put measures on the scale of the group's score, given how many units show them; 0 = ordinary."""
        ...

    def explain(self, value: float) -> str:
        """Put a value into a sentence a person can check."""
        ...
