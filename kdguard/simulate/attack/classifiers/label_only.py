"""Extraction from labels alone: bisect between rows of different labels, so that the border is well known.

References:
    Lowd and Meek (2005), Adversarial learning, KDD (line search); Tramer et al. (2016), arXiv 1609.02943, section 6
    (label-only extraction by retraining on points near the border).
"""

from __future__ import annotations

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.classifiers.knockoff import Loot
from kdguard.simulate.attack.classifiers.oracle import Floats, Oracle
from kdguard.simulate.attack.classifiers.student import Training, fit


def label_only(
    oracle: Oracle, pool: Floats, training: Training, seed: int, *, share: float = 0.25, steps: int = 2
) -> Loot:
    """Spend a share of the budget on rows of the pool and the rest on rows near the border.

    Args:
        oracle: The victim; only its labels are used.
        pool: Rows to begin with, shape (n, d).
        training: How the student is trained.
        seed: Of everything drawn.
        share: Of the budget that goes to the pool, in (0, 1].
        steps: Halvings of each pair; the border is then known to 2^-steps of the pair's distance.
    """
    if not 0 < share <= 1 or steps < 1:
        raise AttackError(f"share must be in (0, 1] and steps >= 1, got {share} and {steps}")
    rng = np.random.default_rng(seed)
    first = min(len(pool), max(2, round(oracle.left * share)), oracle.left)
    inputs = pool[rng.permutation(len(pool))[:first]]
    labels = oracle.answer(inputs).argmax(axis=1)
    pairs = _pairs(labels, oracle.left // steps, rng)
    one, other = inputs[pairs[:, 0]], inputs[pairs[:, 1]]
    for _ in range(steps if len(pairs) else 0):
        middle = (one + other) / 2
        found = oracle.answer(middle).argmax(axis=1)
        inputs, labels = np.concatenate([inputs, middle]), np.concatenate([labels, found])
        # The half that still has two labels at its ends holds the border.
        same = (found == labels[pairs[:, 0]])[:, None]
        one, other = np.where(same, middle, one), np.where(same, other, middle)
    answers = np.eye(oracle.classes)[labels]
    return Loot(inputs, answers, fit(inputs, answers, training, seed))


def _pairs(labels: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """At most `count` pairs of places with different labels, shape (m, 2)."""
    if count < 1:
        return np.empty((0, 2), np.int64)
    drawn = rng.integers(len(labels), size=(count * 3, 2))
    return drawn[labels[drawn[:, 0]] != labels[drawn[:, 1]]][:count]
