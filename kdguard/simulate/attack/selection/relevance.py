"""Task-relevant and diverse queries: keep candidates near the task, cluster them, ask the middle of each.

After Dai et al. (2023), MeaeQ, EMNLP, arXiv 2310.14047: a zero-shot relevance filter, then data reduction by
clustering. Their relevance comes from a large entailment model; ours is the cosine to texts of the task.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.cluster import KMeans
from threadpoolctl import threadpool_limits

from kdguard.errors import AttackError
from kdguard.simulate.attack.selection.embeddings import embed
from kdguard.simulate.attack.selection.uncertainty import Floats, Ints


def relevance(candidates: Floats, task: Floats) -> Floats:
    """Cosine of each candidate to the nearest text of the task.

    Args:
        candidates: Unit rows, shape (n, d).
        task: Unit rows, shape (m, d), m >= 1.

    Returns:
        Shape (n,), from -1 to 1.
    """
    if len(task) == 0:
        raise AttackError("relevance needs at least one text that describes the task")
    return (candidates @ task.T).max(axis=1)


def cluster_middles(embeddings: Floats, count: int, *, seed: int = 0) -> Ints:
    """The candidate nearest to each of `count` k-means centres, all different; shape (count,)."""
    n = len(embeddings)
    if not 0 <= count <= n:
        raise AttackError(f"count must be from 0 to the {n} candidates, got {count}")
    if count == 0:
        return np.empty(0, np.int64)
    with threadpool_limits(1):  # one thread: sums in one order, so the same centres everywhere
        fitted = KMeans(count, n_init=1, random_state=seed, max_iter=50).fit(embeddings)
    found = []
    free = np.ones(n, np.bool_)
    for centre in fitted.cluster_centers_:
        distance = np.where(free, ((embeddings - centre) ** 2).sum(axis=1), np.inf)
        found.append(int(np.argmin(distance)))
        free[found[-1]] = False
    return np.asarray(found, np.int64)


def relevant_and_diverse(
    candidates: Sequence[str], task: Sequence[str], count: int, *, keep: float = 0.5, seed: int = 0
) -> Ints:
    """Choose `count` of n texts: the most relevant share `keep` first, then one a cluster.

    Args:
        candidates: n texts.
        task: Texts that describe the task, for example a few in-domain prompts.
        count: How many to choose, at most n.
        keep: Share of the candidates that pass the relevance filter, raised where `count` needs more.
        seed: Seed of the clustering.

    Returns:
        Places in `candidates`, ascending; shape (count,).
    """
    if not 0 < keep <= 1:
        raise AttackError(f"keep must be in (0, 1], got {keep}")
    vectors = embed([*candidates, *task], seed=seed)
    n = len(candidates)
    near = relevance(vectors[:n], vectors[n:])
    kept = np.argsort(-near, kind="stable")[: max(count, round(n * keep))]
    return np.sort(kept[cluster_middles(vectors[kept], count, seed=seed)])
