"""Greedy k-centre: each next candidate is the one farthest from all chosen so far."""

from __future__ import annotations

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.selection.uncertainty import Floats, Ints


def k_centre(embeddings: Floats, count: int, *, chosen: Floats | None = None, first: int = 0) -> Ints:
    """Choose candidates that cover the embedding space.

    Args:
        embeddings: Candidates, shape (n, d), Euclidean.
        count: How many to choose, at most n.
        chosen: Embeddings that were asked before, shape (m, d); None starts from `first`.
        first: Place of the first centre where nothing was asked before.

    Returns:
        Places in the order chosen, shape (count,). The largest distance of a candidate to its nearest
        centre is at most twice the best possible.

    Cost: O((m + count) n d).

    References:
        Gonzalez (1985), Theor. Comput. Sci. 38:293-306; Sener and Savarese (2018), arXiv 1708.00489.
    """
    points = np.asarray(embeddings, np.float64)
    n = len(points)
    if not 0 <= count <= n:
        raise AttackError(f"count must be from 0 to the {n} candidates, got {count}")
    if count == 0:
        return np.empty(0, np.int64)
    norms = np.einsum("ij,ij->i", points, points)
    nearest = np.full(n, np.inf)
    if chosen is not None and len(chosen):
        for centre in np.asarray(chosen, np.float64):
            np.minimum(nearest, _squared(points, norms, centre), out=nearest)
        first = int(np.argmax(nearest))
    found = [first]
    taken = np.zeros(n, np.bool_)
    while len(found) < count:
        taken[found[-1]] = True
        np.minimum(nearest, _squared(points, norms, points[found[-1]]), out=nearest)
        # A duplicate of a centre is at distance 0 as well: -1 keeps the centre itself out.
        found.append(int(np.argmax(np.where(taken, -1.0, nearest))))
    return np.asarray(found, np.int64)


def radius(embeddings: Floats, centres: Ints) -> float:
    """Largest distance of a candidate to its nearest centre."""
    points = np.asarray(embeddings, np.float64)
    norms = np.einsum("ij,ij->i", points, points)
    squared = np.min([_squared(points, norms, points[place]) for place in centres], axis=0)
    return float(np.sqrt(squared.max()))


def _squared(points: Floats, norms: Floats, centre: Floats) -> Floats:
    return np.maximum(norms - 2 * (points @ centre) + centre @ centre, 0)
