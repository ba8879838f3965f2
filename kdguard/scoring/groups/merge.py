"""Putting together groups that are pieces of one campaign, on half 0 alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.habits import Habits

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ALIKE = 0.7
"""Likeness between groups, over the geometric mean of that within them, from which they are one."""
UNLIKE = 0.5
"""The same over the larger of the two: below it a group holds strangers, and is left alone."""
_BLOCK_CELLS = 1 << 20
"""Pairs of groups compared at once."""


def merged(habits: Habits, owners: Sequence[Ints]) -> tuple[tuple[int, ...], ...]:
    """Join groups whose owners ask alike across groups, nearly as much as within.

    Likeness is that of wording (share of requests by technique) and meaning (mean signs), both centred on the log's
    owners, so that what everybody does does not join anybody; each owner weighs the same, and no owner is compared
    with itself. The two most alike are joined first and are one group from then on, so that no chain of neighbours
    joins two ends that differ.

    Args:
        habits: Half-0 habits of owners.
        owners: Rows of `habits` of each group; an owner may be in several.

    Returns:
        Places in `owners` of each joined group, ascending, by their first.
    """
    parts: list[tuple[int, ...]] = [(at,) for at in range(len(owners))]
    heard = habits.speaks
    if len(owners) < 2 or heard.sum() < 2:
        return tuple(parts)
    profile, place = _centred(habits, heard), np.cumsum(heard) - 1
    nearest = _Nearest.of(_Pieces.of([profile[place[group[heard[group]]]] for group in owners]))
    while (pair := nearest.pair()) is not None:
        left, right = pair
        parts[left], parts[right] = tuple(sorted(parts[left] + parts[right])), ()
        nearest.join(left, right)
    return tuple(sorted(part for part in parts if part))


@dataclass(slots=True)
class _Pieces:
    """Groups as sums over their owners' profiles; a group that was joined to another stays as one of nobody.

    Attributes:
        total: Sum of profiles, shape (g, d).
        square: Sum of their squared lengths, shape (g,).
        count: Owners heard, shape (g,).
        within: Mean inner product of different owners of a group, shape (g,); 0 with fewer than two.
    """

    total: Floats
    square: Floats
    count: Floats
    within: Floats

    @classmethod
    def of(cls, members: Sequence[Floats]) -> _Pieces:
        """Add up the profiles of each group's owners, shape (k, d)."""
        total = np.stack([part.sum(axis=0) for part in members])
        square = np.array([np.square(part).sum() for part in members])
        count = np.array([len(part) for part in members], np.float64)
        return cls(total, square, count, _within(total, square, count))

    def __len__(self) -> int:
        return len(self.count)

    def likeness(self, rows: Ints) -> Floats:
        """Likeness of some groups with all over that within, shape (r, g); -inf where one is not alike within."""
        between = (self.total[rows] @ self.total.T) / np.maximum(np.outer(self.count[rows], self.count), 1.0)
        mine = self.within[rows, None]
        scale = np.sqrt(np.maximum(mine * self.within, 0.0))
        scale = np.maximum(scale, np.maximum(mine, self.within) * (UNLIKE / ALIKE))
        usable = np.minimum(mine, self.within) > 0
        usable[np.arange(len(rows)), rows] = False
        return np.where(usable, between / np.where(usable, scale, 1.0), -np.inf)

    def join(self, left: int, right: int) -> None:
        """Move the right group's owners into the left one."""
        for values in (self.total, self.square, self.count):
            values[left] += values[right]
            values[right] = 0.0
        both = np.array([left, right])
        self.within[both] = _within(self.total[both], self.square[both], self.count[both])


@dataclass(slots=True)
class _Nearest:
    """The group most like each, in memory linear in groups (Müllner 2011, arXiv 1109.2378, generic clustering).

    Attributes:
        pieces: The groups.
        likeness: Likeness with it, shape (g,); where `stale`, no less than that.
        partner: Which it is, shape (g,).
        stale: Whose partner has changed since.
    """

    pieces: _Pieces
    likeness: Floats
    partner: Ints
    stale: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, pieces: _Pieces) -> _Nearest:
        """Compare all with all, a block at a time."""
        groups = len(pieces)
        nearest = cls(pieces, np.empty(groups), np.empty(groups, np.int64), np.zeros(groups, np.bool_))
        block = max(_BLOCK_CELLS // groups, 1)
        for first in range(0, groups, block):
            nearest._look(np.arange(first, min(first + block, groups)))
        return nearest

    def pair(self) -> tuple[int, int] | None:
        """The two most alike, if they are one."""
        while self.likeness[at := int(self.likeness.argmax())] >= ALIKE:
            if not self.stale[at]:
                left, right = sorted((at, int(self.partner[at])))
                return left, right
            self._look(np.array([at]))
        return None

    def join(self, left: int, right: int) -> None:
        """Join two groups, and tell the others."""
        self.pieces.join(left, right)
        self.stale |= (self.partner == left) | (self.partner == right)
        self.likeness[right], self.stale[right] = -np.inf, False
        alike = self._look(np.array([left]))[0]
        closer = alike > self.likeness
        self.likeness[closer], self.partner[closer], self.stale[closer] = alike[closer], left, False

    def _look(self, rows: Ints) -> Floats:
        """Compare some groups with all, keep the most like each, and return their likeness, shape (r, g)."""
        alike = self.pieces.likeness(rows)
        self.partner[rows] = alike.argmax(axis=1)
        self.likeness[rows] = alike[np.arange(len(rows)), self.partner[rows]]
        self.stale[rows] = False
        return alike


def _within(total: Floats, square: Floats, count: Floats) -> Floats:
    pairs = count * (count - 1)
    inner = np.square(total).sum(axis=1) - square
    return np.where(pairs > 0, inner / np.maximum(pairs, 1.0), 0.0)


def _centred(habits: Habits, heard: npt.NDArray[np.bool_]) -> Floats:
    """Wording and meaning of owners heard, side by side, each scaled to the same mean square."""
    parts = []
    for values in (habits.wording[heard].astype(np.float64), habits.meaning[heard].astype(np.float64)):
        centred = values - np.median(values, axis=0)
        scale = np.sqrt(np.mean(np.square(centred).sum(axis=1)))
        parts.append(centred / max(scale, 1e-12))
    return np.concatenate(parts, axis=1)
