"""What the statistics of likeness have in common: pairs of different owners, every pair weighing the same."""

from __future__ import annotations

import abc
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Guarantee
from kdguard.scoring.groups.pooled import HalfOne

Floats = npt.NDArray[np.float64]


class Alike(abc.ABC):
    """A chance or a similarity between owners of a group, scored by how many owners share it.

    A `kdguard.scoring.groups.statistics.GroupStatistic`; subclasses supply `measure` and `explain` and override
    nothing else.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    guarantee: ClassVar[Guarantee] = Guarantee.DESCRIPTIVE
    weight: ClassVar[float] = 1.0
    supporting: ClassVar[bool] = False

    @abc.abstractmethod
    def measure(self, half: HalfOne) -> Floats:
        """Likeness in [0, 1], shape (g,); NaN with fewer than two owners."""

    @abc.abstractmethod
    def explain(self, value: float) -> str:
        """Put a value into a sentence a person can check."""

    def score(self, value: Floats, units: npt.NDArray[np.int64]) -> Floats:
        """log2 of one more than the owners that share it."""
        return np.log2(1.0 + units * np.maximum(value, 0.0))


def across_owners(half: HalfOne, codes: npt.NDArray[np.uint64]) -> Floats:
    """Chance that a request of one owner and one of another share a code.

    Args:
        half: Rows of groups.
        codes: One code a row, 0 = absent, shape (n,).

    Returns:
        Shape (g,); NaN with fewer than two owners.
    """
    size = max(half.groups, 1)
    owners, who = np.unique(half.unit, return_inverse=True)
    unit = half.group * max(len(owners), 1) + who
    units, unit_of = np.unique(unit, return_inverse=True)
    share = 1.0 / np.bincount(unit_of)[unit_of]
    group_of_unit = units // max(len(owners), 1)
    present = codes != 0
    order = np.lexsort((unit_of[present], codes[present], half.group[present]))
    group, code = half.group[present][order], codes[present][order]
    member, weight = unit_of[present][order], share[present][order]
    if not len(order):
        return np.full(half.groups, np.nan)
    new_code = _changes(group, code)
    cells = np.add.reduceat(weight, np.flatnonzero(new_code | _changes(member)))
    code_starts = np.flatnonzero(new_code[new_code | _changes(member)])
    together = np.square(np.add.reduceat(cells, code_starts))
    alone = np.add.reduceat(np.square(cells), code_starts)
    shared = np.bincount(group[new_code], weights=together - alone, minlength=size)
    return _a_pair(shared, np.bincount(group_of_unit, minlength=size))[: half.groups]


def mean_product(half: HalfOne, vectors: npt.NDArray[np.generic]) -> Floats:
    """Mean over pairs of different owners of the inner product of their mean vectors.

    Args:
        half: Rows of groups.
        vectors: One vector a row, shape (n, d).

    Returns:
        Shape (g,); NaN with fewer than two owners.
    """
    order = np.lexsort((half.unit, half.group))
    group, owner = half.group[order], half.unit[order]
    if not len(order):
        return np.full(half.groups, np.nan)
    starts = np.flatnonzero(_changes(group, owner))
    size = np.diff(np.append(starts, len(order)))
    means = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64) / size[:, None]
    group_starts = np.flatnonzero(_changes(group[starts]))
    total = np.square(np.add.reduceat(means, group_starts, axis=0)).sum(axis=1)
    alone = np.add.reduceat(np.square(means).sum(axis=1), group_starts)
    product = np.full(half.groups, np.nan)
    product[group[starts][group_starts]] = _a_pair(
        total - alone, np.diff(np.append(group_starts, len(starts)))
    )
    return product


def _changes(*keys: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Where a new run of equal keys begins, shape (n,); n is at least 1."""
    differs = np.logical_or.reduce([key[1:] != key[:-1] for key in keys])
    return np.concatenate(([True], differs))


def _a_pair(total: npt.NDArray[np.number], owners: npt.NDArray[np.int64]) -> Floats:
    """Share a sum over ordered pairs of owners out among the pairs."""
    count = owners.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 1, total / (count * (count - 1)), np.nan)
