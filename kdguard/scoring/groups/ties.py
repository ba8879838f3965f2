"""Ties between owners, and the protocol by which detectors supply them. Core never imports the detectors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.habits import Habits
from kdguard.scoring.groups.rarity import Rarity
from kdguard.scoring.groups.traces import Traces

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs of owners.

    Attributes:
        source, target: Rows of `Habits`, source < target, each pair once, shape (p,).
    """

    source: Ints
    target: Ints

    def __len__(self) -> int:
        return len(self.source)

    @classmethod
    def of(cls, source: npt.NDArray[np.integer], target: npt.NDArray[np.integer], owners: int) -> Pairs:
        """Put pairs in order, each once, none with itself."""
        low, high = np.minimum(source, target).astype(np.int64), np.maximum(source, target).astype(np.int64)
        keep = low < high
        codes = np.sort(low[keep] * owners + high[keep])
        # What np.unique does, which hashes first: ten times the work on so many different numbers.
        codes = codes[np.concatenate(([True], codes[1:] != codes[:-1]))[: len(codes)]]
        return cls(codes // max(owners, 1), codes % max(owners, 1))

    def take(self, rows: Ints) -> Pairs:
        """Return some of the pairs."""
        return Pairs(self.source[rows], self.target[rows])


@dataclass(frozen=True, slots=True)
class Scene:
    """What ties are looked for in: half 0 of a log, and what is rare among honest owners."""

    traces: Traces
    habits: Habits
    rarity: Rarity


@runtime_checkable
class Tie(Protocol):
    """A reason to believe that two owners are one: a coincidence, weighed by how rare it is among honest owners.

    A tie only decides which groups are looked at. It never enters a p-value, so a poor weight costs power, not honesty.
    """

    @property
    def name(self) -> str:
        """Names the tie."""
        ...

    @property
    def words(self) -> str:
        """What a graph calls the tie; empty where it is a shared value, which graphs show as such."""
        ...

    def propose(self, scene: Scene) -> Pairs:
        """Pairs worth weighing; a bounded number an owner."""
        ...

    def weigh(self, scene: Scene, pairs: Pairs) -> Floats:
        """-log10 of the chance of the coincidence between two honest owners, shape (p,); 0 = none."""
        ...
