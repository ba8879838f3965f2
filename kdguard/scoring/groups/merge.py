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
    pieces = _pieces(_centred(habits, heard), np.cumsum(heard) - 1, heard, owners)
    alike = pieces.likeness()
    while alike.size and alike.max() >= ALIKE:
        left, right = sorted(divmod(int(alike.argmax()), len(alike)))
        parts[left] = tuple(sorted(parts[left] + parts[right]))
        del parts[right]
        pieces = pieces.joined(left, right)
        alike = np.delete(np.delete(alike, right, axis=0), right, axis=1)
        alike[left, :] = alike[:, left] = pieces.likeness_of(left)
    return tuple(sorted(parts))


@dataclass(frozen=True, slots=True)
class _Pieces:
    """Groups as sums over their owners' profiles.

    Attributes:
        total: Sum of profiles, shape (g, d).
        square: Sum of their squared lengths, shape (g,).
        count: Owners heard, shape (g,).
    """

    total: Floats
    square: Floats
    count: Floats

    def likeness(self) -> Floats:
        """Likeness between groups over that within, shape (g, g); -inf where a group is not alike within."""
        rows = [self.likeness_of(at) for at in range(len(self.count))]
        return np.stack(rows)

    def likeness_of(self, at: int) -> Floats:
        """One row of it; -inf with itself."""
        within = self._within()
        between = (self.total @ self.total[at]) / np.maximum(self.count * self.count[at], 1.0)
        scale = np.sqrt(np.maximum(within * within[at], 0.0))
        scale = np.maximum(scale, np.maximum(within, within[at]) * (UNLIKE / ALIKE))
        usable = (np.minimum(within, within[at]) > 0) & (np.arange(len(within)) != at)
        return np.where(usable, between / np.where(usable, scale, 1.0), -np.inf)

    def joined(self, left: int, right: int) -> _Pieces:
        """Add the right group to the left one."""
        columns = []
        for values in (self.total, self.square, self.count):
            summed = values.copy()
            summed[left] += values[right]
            columns.append(np.delete(summed, right, axis=0))
        return _Pieces(*columns)

    def _within(self) -> Floats:
        """Mean inner product of different owners of a group; 0 with fewer than two."""
        pairs = self.count * (self.count - 1)
        inner = np.square(self.total).sum(axis=1) - self.square
        return np.where(pairs > 0, inner / np.maximum(pairs, 1.0), 0.0)


def _pieces(profile: Floats, place: Ints, heard: npt.NDArray[np.bool_], owners: Sequence[Ints]) -> _Pieces:
    members = [profile[place[group[heard[group]]]] for group in owners]
    return _Pieces(
        np.stack([part.sum(axis=0) for part in members]),
        np.array([np.square(part).sum() for part in members]),
        np.array([len(part) for part in members], np.float64),
    )


def _centred(habits: Habits, heard: npt.NDArray[np.bool_]) -> Floats:
    """Wording and meaning of owners heard, side by side, each scaled to the same mean square."""
    parts = []
    for values in (habits.wording[heard].astype(np.float64), habits.meaning[heard].astype(np.float64)):
        centred = values - np.median(values, axis=0)
        scale = np.sqrt(np.mean(np.square(centred).sum(axis=1)))
        parts.append(centred / max(scale, 1e-12))
    return np.concatenate(parts, axis=1)
