"""Putting together selected groups that are pieces of one campaign."""

from __future__ import annotations

from collections.abc import Sequence

import networkx as nx
import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.habits import Habits

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ALIKE = 0.7
"""Likeness between groups, over that within them, from which they are one."""


def merged(habits: Habits, owners: Sequence[Ints]) -> tuple[tuple[int, ...], ...]:
    """Join groups whose owners ask alike across groups, nearly as much as within.

    Only groups that have been selected are joined, so joining names no new account; the joined group answers with
    the largest p-value of its pieces. Likeness is that of wording (share of requests by technique) and meaning
    (mean signs), both centred on the log's owners, so that what everybody does does not join anybody; each owner
    weighs the same, and no owner is compared with itself.

    Args:
        habits: Half-0 habits of owners.
        owners: Rows of `habits` of each group.

    Returns:
        Places in `owners` of each joined group, ascending.
    """
    heard = habits.speaks
    graph = nx.Graph()
    graph.add_nodes_from(range(len(owners)))
    if heard.sum() > 1:
        profile = _centred(habits, heard)
        place = np.cumsum(heard) - 1
        sums = [profile[place[group[heard[group]]]] for group in owners]
        for left in range(len(owners)):
            for right in range(left + 1, len(owners)):
                if _alike(sums[left], sums[right]):
                    graph.add_edge(left, right)
    return tuple(tuple(sorted(part)) for part in nx.connected_components(graph))


def _centred(habits: Habits, heard: npt.NDArray[np.bool_]) -> Floats:
    """Wording and meaning of owners heard, side by side, each scaled to the same mean square."""
    parts = []
    for values in (habits.wording[heard].astype(np.float64), habits.meaning[heard].astype(np.float64)):
        centred = values - np.median(values, axis=0)
        scale = np.sqrt(np.mean(np.square(centred).sum(axis=1)))
        parts.append(centred / max(scale, 1e-12))
    return np.concatenate(parts, axis=1)


def _alike(left: Floats, right: Floats) -> bool:
    if len(left) < 2 or len(right) < 2:
        return False
    between = float(left.mean(axis=0) @ right.mean(axis=0))
    within = [
        (float(np.square(part.sum(axis=0)).sum()) - float(np.square(part).sum()))
        / (len(part) * (len(part) - 1))
        for part in (left, right)
    ]
    return min(within) > 0 and between >= ALIKE * float(np.sqrt(within[0] * within[1]))
