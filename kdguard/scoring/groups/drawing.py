"""The graph of a group: its accounts, what they share, and what ties them in pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from kdguard.scoring.facts import Facts
from kdguard.scoring.groups.attributes import KIND_WORDS, Attribute
from kdguard.scoring.groups.find import Groups

_MOST_EDGES = 400
_SALT = 0x9E3779B97F4A7C15


def draw(
    groups: Groups,
    members: npt.NDArray[np.uint64],
    shared: Sequence[Attribute],
    name: str,
    facts: Facts,
    requests: npt.NDArray[np.int64],
) -> dict[str, Any]:
    """Give a `kdguard.report.plots.ClusterGraph`.

    Args:
        groups: Groups that were looked at.
        members: Hashes of the group's accounts, ascending.
        shared: What they share.
        name: Id of the group.
        facts: Facts of the log's accounts.
        requests: Exchanges of each account, aligned with `facts`.
    """
    place = np.searchsorted(facts.subject, members)
    attributes = [
        {
            "kind": KIND_WORDS[item.kind][0],
            "hash": f"{(item.code ^ _SALT) * _SALT % 2**64:016x}",
            "weight": round(item.bits, 2),
            "members": np.searchsorted(members, item.subjects).tolist(),
        }
        for item in shared
    ]
    return {
        "id": name,
        "nodes": [{"id": str(facts.account_id[at]), "requests": int(requests[at])} for at in place],
        "attributes": attributes,
        "edges": _edges(groups, members),
    }


def with_decisions(graphs: Sequence[Mapping[str, Any]], decisions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Add each account's decision to the nodes of cluster graphs."""
    return [
        {**graph, "nodes": [{**node, "decision": decisions[node["id"]]} for node in graph["nodes"]]}
        for graph in graphs
    ]


def _edges(groups: Groups, members: npt.NDArray[np.uint64]) -> list[dict[str, Any]]:
    """Ties that are no shared value, between one account of either owner; heaviest first."""
    habits, graph = groups.habits, groups.candidates.graph
    first_of: dict[int, int] = {}
    for row, node in enumerate(habits.node[np.searchsorted(habits.subject, members)].tolist()):
        first_of.setdefault(node, row)
    pairs = zip(graph.pairs.source.tolist(), graph.pairs.target.tolist(), graph.by_tie, strict=True)
    edges: list[dict[str, Any]] = [
        {
            "source": first_of[source],
            "target": first_of[target],
            "kind": kind,
            "weight": round(float(weights[column]), 2),
        }
        for source, target, weights in pairs
        if source in first_of and target in first_of
        for kind, column in groups.pair_ties
        if weights[column] > 0
    ]
    return sorted(edges, key=lambda edge: -edge["weight"])[:_MOST_EDGES]
