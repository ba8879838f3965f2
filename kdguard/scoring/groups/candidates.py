"""Which groups are looked at: owners tied to each other, and owners with many accounts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.form import Graph, groups_in, grown, tie_graph
from kdguard.scoring.groups.merge import merged
from kdguard.scoring.groups.pooled import Membership
from kdguard.scoring.groups.ties import Scene, Tie

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]

FEWEST_UNITS = 3
"""Owners, or accounts within one owner, below which nothing is called a group."""


@dataclass(frozen=True, slots=True)
class Candidates:
    """Groups to be tested.

    Attributes:
        members: Hashes of the accounts of each group, ascending.
        units: Hash of what is independent, by member: the owner, or the account within one owner.
        across: Whether the group spans owners, shape (g,).
        graph: Ties between owners, rows of `Habits`.
    """

    members: tuple[Codes, ...]
    units: tuple[Codes, ...]
    across: npt.NDArray[np.bool_]
    graph: Graph

    def __len__(self) -> int:
        return len(self.members)

    @property
    def sizes(self) -> Ints:
        """Units of each group, shape (g,)."""
        return np.array([len(np.unique(part)) for part in self.units], np.int64)

    def membership(self) -> Membership:
        """The same in long form."""
        return Membership.of(self.members, self.units)


def candidates(scene: Scene, ties: Sequence[Tie]) -> Candidates:
    """Form groups on half 0.

    An owner is collapsed to one node before ties are looked for, so what a company's accounts share with each other
    ties nobody. But owners are known only by what the log and the accounts table say: a hundred accounts on one card
    and no organisation are one owner. So owners with several accounts are candidates too, in a class of their own,
    and are ranked among honest owners with several accounts.

    Args:
        scene: Half 0.
        ties: What ties owners.
    """
    habits = scene.habits
    graph = tie_graph(scene, ties)
    order = np.argsort(habits.node, kind="stable")
    starts = np.searchsorted(habits.node[order], np.arange(len(habits) + 1))
    members, units, across = [], [], []
    pieces = groups_in(graph, FEWEST_UNITS)
    joined = [np.concatenate([pieces[at] for at in part]) for part in merged(habits, pieces)]
    for group in grown(graph, joined, len(habits)):
        if len(group) < FEWEST_UNITS:
            continue
        place = np.concatenate([order[starts[node] : starts[node + 1]] for node in group])
        place = place[np.argsort(habits.subject[place])]
        members.append(habits.subject[place])
        units.append(habits.owner[habits.node[place]])
        across.append(True)
    for node in np.flatnonzero(np.diff(starts) >= FEWEST_UNITS):
        mine = np.sort(habits.subject[order[starts[node] : starts[node + 1]]])
        members.append(mine)
        units.append(mine)
        across.append(False)
    return Candidates(tuple(members), tuple(units), np.array(across, np.bool_), graph)
