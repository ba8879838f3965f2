"""Handwritten digits that ship with scikit-learn, parted between a victim, a thief and a judge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from kdguard.simulate.attack.classifiers.oracle import Floats
from kdguard.simulate.attack.classifiers.student import Training, fit
from kdguard.simulate.attack.selection.uncertainty import Ints

CLASSES = 10
VICTIM_ROWS, POOL_ROWS = 700, 700
Victim = Literal["network", "forest", "linear"]


@dataclass(frozen=True, eq=False)
class Digits:
    """1,797 images of 8 by 8 pixels as rows of 64 features in [0, 1], parted by a seed.

    Attributes:
        victim_inputs: What the victim learns from, (700, 64).
        victim_labels: Shape (700,).
        pool: What the thief owns, (700, 64).
        pool_labels: Shape (700,); a thief may know them, the victim never sees them.
        test_inputs: What neither has seen, (397, 64).
        test_labels: Shape (397,).
    """

    victim_inputs: Floats
    victim_labels: Ints
    pool: Floats
    pool_labels: Ints
    test_inputs: Floats
    test_labels: Ints


def digits(seed: int = 0) -> Digits:
    """Load and part the digits."""
    inputs, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(inputs))
    x, y = inputs[order] / 16.0, labels[order].astype(np.int64)
    a, b = VICTIM_ROWS, VICTIM_ROWS + POOL_ROWS
    return Digits(x[:a], y[:a], x[a:b], y[a:b], x[b:], y[b:])


def train_victim(data: Digits, kind: Victim = "network", seed: int = 0) -> Callable[[Floats], Floats]:
    """Train a victim: a torch network, or a scikit-learn forest or linear model.

    Returns:
        Its probabilities, shape (n, 64) to (n, 10).
    """
    if kind == "network":
        student = fit(data.victim_inputs, np.eye(CLASSES)[data.victim_labels], Training(), 10_000 + seed)
        return student.probabilities
    model: Any = (
        RandomForestClassifier(100, random_state=seed)
        if kind == "forest"
        else LogisticRegression(max_iter=500, random_state=seed)
    )
    with threadpool_limits(1):
        model.fit(data.victim_inputs, data.victim_labels)
    return lambda inputs: np.asarray(model.predict_proba(inputs), np.float64)
