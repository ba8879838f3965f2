"""The figure of a cluster: its accounts, and the attributes that tie them together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import networkx as nx
import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from kdguard.report.plots import MAX_NODES, ClusterGraph, ClusterNode, SharedAttribute
from kdguard.report.svg import drawing, element
from kdguard.report.words import count, number_words, visible

Points = npt.NDArray[np.float64]  # pixels, shape (n, 2) or (2,)

_WIDTH, _HEIGHT = 780, 400
_CENTRE = np.array([390.0, 200.0])
_RADII = np.array([190.0, 150.0])
_MAX_ATTRIBUTES = 24


@dataclass(frozen=True, slots=True)
class Shared:
    """A row of the table beside the graph: what is shared, by how many accounts or pairs, and how rare that is."""

    kind: str
    mark: str
    by: str
    weight: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """The graph of one cluster with its table; `note` says what was left out."""

    id: str
    figure: Markup
    shared: tuple[Shared, ...]
    note: str


def draw(cluster: ClusterGraph) -> Drawing:
    """Lay a cluster out: attributes on a ring, accounts inside near those they have, ties as dotted lines.

    No chance is involved but a seeded one, so the same cluster looks the same in every report.
    """
    nodes = cluster["nodes"][:MAX_NODES]
    attributes = [
        item for item in cluster.get("attributes", ()) if any(int(m) < len(nodes) for m in item["members"])
    ]
    shown = attributes[:_MAX_ATTRIBUTES]
    ring = _ring(len(shown))
    place = _accounts(cluster, len(nodes), shown, ring)
    lines = [
        element(
            "path",
            d=_spokes(ring[i], [place[int(m)] for m in item["members"] if int(m) < len(nodes)]),
            class_="tie",
        )
        for i, item in enumerate(shown)
    ]
    ties = list(cluster.get("edges", ()))[: 4 * len(nodes)]
    lines += [
        _pair(place[int(tie["source"])], place[int(tie["target"])], tie["kind"])
        for tie in ties
        if int(tie["source"]) < len(nodes) and int(tie["target"]) < len(nodes)
    ]
    circles = [_account(at, node) for at, node in zip(place, nodes, strict=True)]
    squares = [_attribute(at, item) for at, item in zip(ring, shown, strict=True)]
    label = f"Group {visible(cluster['id'])}: {count(len(cluster['nodes']), 'account')}, {_kinds(attributes)}"
    table = tuple(
        Shared(
            visible(item["kind"], 60),
            visible(item["hash"][:8]),
            count(len(item["members"]), "account"),
            number_words(float(item["weight"]), 1),
        )
        for item in attributes[:_MAX_ATTRIBUTES]
    )
    pairs = tuple(
        Shared(kind, "", count(number, "pair"), number_words(weight, 1))
        for kind, number, weight in _pairwise(cluster)
    )
    left_out = [
        count(len(cluster["nodes"]) - len(nodes), "account") if len(cluster["nodes"]) > len(nodes) else "",
        count(len(attributes) - len(shown), "attribute") if len(attributes) > len(shown) else "",
    ]
    note = " and ".join(part for part in left_out if part)
    figure = drawing(_WIDTH, _HEIGHT, label, *lines, *circles, *squares, class_="graph")
    return Drawing(cluster["id"], figure, table + pairs, f"{note} not drawn" if note else "")


def _ring(total: int) -> Points:
    """Place attributes evenly on an ellipse, so that their labels have room outside it."""
    angle = np.pi * (2 * np.arange(total) / max(total, 1) - 0.85)
    return np.column_stack([_CENTRE[0] + _RADII[0] * np.cos(angle), _CENTRE[1] + _RADII[1] * np.sin(angle)])


def _accounts(cluster: ClusterGraph, size: int, shown: Sequence[SharedAttribute], ring: Points) -> Points:
    """Place each account amid the attributes it has, then push overlapping ones apart."""
    spread = 0.618034 * 2 * np.pi * np.arange(size)  # golden angle: no two start on one spot
    away = np.column_stack([np.cos(spread), np.sin(spread)]) * np.sqrt(np.arange(size) + 0.5)[:, None]
    member = np.zeros((size, len(shown)))
    for column, item in enumerate(shown):
        member[[int(m) for m in item["members"] if int(m) < size], column] = 1.0
    degree = member.sum(axis=1, keepdims=True)
    if len(shown):
        middle = np.where(degree > 0, member @ ring / np.maximum(degree, 1.0), (_CENTRE[0], _HEIGHT - 30.0))
        start = _CENTRE + (middle - _CENTRE) * 0.85 + 1.5 * away
    else:
        start = _tied(cluster, size) + away
    return _apart(start)


def _tied(cluster: ClusterGraph, size: int) -> Points:
    """Lay out accounts that share no value by their pairwise ties; seeded, so always the same."""
    graph = nx.Graph()
    graph.add_nodes_from(range(size))
    pairs = [(int(edge["source"]), int(edge["target"])) for edge in cluster.get("edges", ())]
    graph.add_edges_from((a, b) for a, b in pairs if a < size and b < size)
    raw = nx.spring_layout(graph, seed=0, iterations=100)
    return np.asarray(_CENTRE + np.array([raw[index] for index in range(size)]) * _RADII * 0.9)


def _apart(points: Points, distance: float = 20.0) -> Points:
    for _ in range(80):
        gap = points[:, None, :] - points[None, :, :]
        length = np.maximum(np.hypot(gap[..., 0], gap[..., 1]), 1e-6)
        push = np.clip(distance - length, 0.0, None) / length * 0.35
        np.fill_diagonal(push, 0.0)
        points = points + (gap * push[..., None]).sum(axis=1)
    return np.asarray(np.clip(points, (12.0, 12.0), (_WIDTH - 12.0, _HEIGHT - 12.0)))


def _spokes(hub: Points, ends: Sequence[Points]) -> str:
    return "".join(f"M{hub[0]:.0f},{hub[1]:.0f}L{end[0]:.0f},{end[1]:.0f}" for end in ends)


def _pair(left: Points, right: Points, kind: str) -> Markup:
    (x1, y1), (x2, y2) = left.tolist(), right.tolist()
    return element("line", element("title", visible(kind, 80)), x1=x1, y1=y1, x2=x2, y2=y2, class_="pair")


def _account(at: Points, node: ClusterNode) -> Markup:
    decision, requests = node.get("decision", ""), node.get("requests")
    words = f"{visible(node['id'])}, {visible(decision) or 'not scored'}"
    words += "" if requests is None else f", {count(int(requests), 'request')}"
    known = f"account {decision}" if decision in ("flag", "review", "clear", "abstain") else "account"
    x, y = at.tolist()
    return element("circle", element("title", words), cx=x, cy=y, r=6.5, class_=known)


def _attribute(at: Points, item: SharedAttribute) -> Markup:
    x, y = at.tolist()
    kind, mark = visible(item["kind"], 40), visible(item["hash"][:4])
    accounts = count(len(item["members"]), "account")
    words = (
        f"{kind} {visible(item['hash'][:8])}, shared by {accounts}; rarity {float(item['weight']):.1f} bits"
    )
    half = 4.0 + min(len(item["members"]), 25) ** 0.5
    side = (x - _CENTRE[0]) / _RADII[0]
    anchor, dx = (
        ("middle", 0.0) if abs(side) < 0.35 else ("end", -half - 5) if side < 0 else ("start", half + 5)
    )
    dy = 4.0 if dx else (half + 14 if y > _CENTRE[1] else -half - 6)
    return element(
        "g",
        element("title", words),
        element("rect", x=x - half, y=y - half, width=2 * half, height=2 * half, rx=2, class_="attribute"),
        element("text", f"{kind} ·{mark}", x=x + dx, y=y + dy, text_anchor=anchor, class_="label"),
    )


def _kinds(attributes: Sequence[SharedAttribute]) -> str:
    kinds = sorted({visible(item["kind"], 40) for item in attributes})
    return f"sharing {', '.join(kinds)}" if kinds else "with no attribute in common"


def _pairwise(cluster: ClusterGraph) -> list[tuple[str, int, float]]:
    found: dict[str, list[float]] = {}
    for edge in cluster.get("edges", ()):
        found.setdefault(visible(edge["kind"], 60), []).append(float(edge["weight"]))
    rows = [(kind, len(weights), max(weights)) for kind, weights in found.items()]
    return sorted(rows, key=lambda row: (-row[2], row[0]))
