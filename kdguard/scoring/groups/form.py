"""From ties to candidate groups, on half 0 alone.

Weights of different ties add as if coincidences were independent, which they are not: weights only choose what is
looked at, and the same choice is made among benign calibration owners, whom groups are ranked among.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, replace

import networkx as nx
import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from kdguard.scoring.groups.rarity import Rarity, tail_levels
from kdguard.scoring.groups.ties import Pairs, Scene, Tie

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

EDGES_PER_OWNER = 24
CHANCE_DEGREE = 0.1
"""Ties that an honest owner would have by chance at the threshold, were the weights exact."""
FEWEST_TIES = 2
JOINING_SHARE = 0.25
"""Ties to a group, and share of the weight of its median member's, by which an owner outside it joins."""
TIE_WORTH = 0.5
"""Weight of a tie that is just at the threshold, when density is measured."""
_PAIRS_AT_ONCE = 1 << 20
"""Pairs weighed together; few of a large log's are heavy enough to be kept."""


@dataclass(frozen=True, slots=True)
class Graph:
    """Ties between owners.

    Attributes:
        pairs: Pairs that hold.
        weight: Sum of their ties' weights, shape (p,).
        by_tie: Weight of each tie, shape (p, t).
        threshold: Least weight that holds.
    """

    pairs: Pairs
    weight: Floats
    by_tie: Floats
    threshold: float

    @property
    def excess(self) -> Floats:
        """Weight above the threshold, and what a tie is worth that is just at it, shape (p,)."""
        return self.weight - self.threshold + TIE_WORTH


def tie_graph(scene: Scene, ties: Sequence[Tie]) -> Graph:
    """Weigh every proposed pair by every tie and keep each owner's heaviest edges above the threshold."""
    owners = len(scene.habits)
    threshold = scene.rarity.least_weight(float(np.log10(max(owners, 2) / CHANCE_DEGREE)))
    pairs, by_tie = weigh_pairs(scene, ties, threshold)
    weight = by_tie.sum(axis=1)
    keep = np.flatnonzero(_among_heaviest(pairs, weight, owners))
    return Graph(pairs.take(keep), weight[keep], by_tie[keep], threshold)


def weigh_pairs(scene: Scene, ties: Sequence[Tie], least: float = 0.0) -> tuple[Pairs, Floats]:
    """Weigh all pairs that any tie proposes by every tie, some at a time.

    Returns:
        The pairs that weigh `least` together, and the weights of each, shape (p, t).
    """
    pairs = _proposed(scene, ties)
    rows, weights = [np.empty(0, np.int64)], [np.empty((0, len(ties)))]
    for first in range(0, len(pairs), _PAIRS_AT_ONCE):
        at = np.arange(first, min(first + _PAIRS_AT_ONCE, len(pairs)))
        by_tie = np.stack([tie.weigh(scene, pairs.take(at)) for tie in ties], axis=1)
        strong = by_tie.sum(axis=1) >= least
        rows.append(at[strong])
        weights.append(by_tie[strong])
    return pairs.take(np.concatenate(rows)), np.concatenate(weights)


def _proposed(scene: Scene, ties: Sequence[Tie]) -> Pairs:
    proposed = [tie.propose(scene) for tie in ties]
    return Pairs.of(
        np.concatenate([p.source for p in proposed]),
        np.concatenate([p.target for p in proposed]),
        len(scene.habits),
    )


def learn_total(scene: Scene, ties: Sequence[Tie]) -> Rarity:
    """Measure how heavy the sum of all ties is among teaching owners, who are honest or nearly all so."""
    _, by_tie = weigh_pairs(scene, ties)
    owners = len(scene.habits)
    return replace(scene.rarity, total=tail_levels(by_tie.sum(axis=1), max(owners * (owners - 1) // 2, 1)))


def _among_heaviest(pairs: Pairs, weight: Floats, owners: int) -> npt.NDArray[np.bool_]:
    """Whether a pair is among the heaviest of either end."""
    both = np.concatenate([pairs.source, pairs.target])
    edge = np.tile(np.arange(len(pairs)), 2)
    order = np.lexsort((edge, -weight[edge], both))
    starts = np.searchsorted(both[order], np.arange(owners))
    place = np.arange(len(order)) - starts[both[order]]
    keep = np.zeros(len(pairs), np.bool_)
    keep[edge[order][place < EDGES_PER_OWNER]] = True
    return keep


def groups_in(graph: Graph, fewest: int) -> tuple[Ints, ...]:
    """Densest groups, one after the other: rows of `Habits`, ascending within a group; no owner is in two.

    Within a connected component the group with the most weight an owner is peeled out, then the next among the rest.
    Unlike modularity, density neither cuts a large campaign into pieces nor takes in who is tied to it by a thread.

    References:
        Charikar (2000), APPROX, section 3 (greedy peeling, within a factor of two of the densest);
        Hooi et al. (2016), KDD, FRAUDAR.
    """
    network = nx.Graph()
    network.add_weighted_edges_from(
        zip(graph.pairs.source.tolist(), graph.pairs.target.tolist(), graph.excess.tolist(), strict=True)
    )
    found = []
    for component in sorted(
        (sorted(part) for part in nx.connected_components(network)), key=lambda c: (-len(c), c)
    ):
        rest = network.subgraph(component).copy()
        while len(rest) >= fewest and rest.number_of_edges():
            dense = _densest(rest)
            rest.remove_nodes_from(dense)
            if len(dense) >= fewest:
                found.append(np.array(sorted(dense), np.int64))
    return tuple(sorted(found, key=lambda group: (-len(group), group.tolist())))


def grown(graph: Graph, groups: Sequence[Ints], owners: int) -> tuple[Ints, ...]:
    """Add to each group whoever is tied to it about as much as its members are; owners may change sides.

    The densest part of a campaign leaves out those of its accounts that were seen least. An honest owner may have a
    tie or two by chance (the threshold lets it have a tenth of one), and weak ones: hence two at least, and a share of
    the weight that half of the members have.

    What is left over of a campaign makes small groups of its own, which honest owners then hang on to; there two ties
    are no chance any more. So an owner who is already in a group leaves it for a larger one that holds more of its
    ties and of their weight, however little that is beside the larger one's own members.

    Args:
        graph: Ties between owners.
        groups: Disjoint groups, rows of `Habits`.
        owners: Owners of the log.
    """
    if not groups:
        return ()
    label = np.full(owners, -1)
    for at, group in enumerate(groups):
        label[group] = at
    weight, ties = _held_by(graph, label, len(groups))
    inside = np.flatnonzero(label >= 0)
    own, own_ties = np.zeros(owners), np.zeros(owners)
    own[inside], own_ties[inside] = weight[inside, label[inside]], ties[inside, label[inside]]
    usual = np.array([np.median(own[group]) for group in groups])
    most, best = weight.max(axis=1).toarray().ravel(), weight.argmax(axis=1).ravel()
    many = ties[np.arange(owners), best]
    size = np.array([len(group) for group in groups])
    like_a_member = most >= JOINING_SHARE * usual[best]
    left_over = (label >= 0) & (size[label] < size[best]) & (many > own_ties)
    label = np.where((most > own) & (many >= FEWEST_TIES) & (like_a_member | left_over), best, label)
    return tuple(np.flatnonzero(label == at) for at in range(len(groups)))


def _held_by(graph: Graph, label: Ints, groups: int) -> tuple[csr_array, csr_array]:
    """Weight and number of each owner's ties to each group, shape (o, g)."""
    near = np.concatenate([label[graph.pairs.target], label[graph.pairs.source]])
    who = np.concatenate([graph.pairs.source, graph.pairs.target])
    tied, shape = near >= 0, (len(label), groups)
    place = (who[tied], near[tied])
    weight = csr_array((np.tile(graph.excess, 2)[tied], place), shape)
    return weight, csr_array((np.ones(len(place[0])), place), shape)


def _densest(network: nx.Graph) -> list[int]:
    """Peel the owner with the least weight until none is left; return what was left at the densest moment."""
    degree = {node: float(weight) for node, weight in network.degree(weight="weight")}
    heap = [(weight, node) for node, weight in degree.items()]
    heapq.heapify(heap)
    total = sum(degree.values()) / 2
    best, best_left = total / len(degree), len(degree)
    order: list[int] = []
    while heap:
        weight, node = heapq.heappop(heap)
        if degree.get(node) != weight:
            continue
        del degree[node]
        order.append(node)
        total -= weight
        for other, tie in network[node].items():
            if other in degree:
                degree[other] -= tie["weight"]
                heapq.heappush(heap, (degree[other], other))
        if degree and total / len(degree) > best:
            best, best_left = total / len(degree), len(degree)
    return order[len(order) - best_left :]
