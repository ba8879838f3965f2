"""Small classifiers of several kinds, trained here: controls that never met the teacher, and proxies that copy it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from scipy.special import softmax
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from threadpoolctl import threadpool_limits

from kdguard.detectors.fingerprint.labels.network import Network

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Predict = Callable[[Floats], Floats]
"""From rows (n, d) to probabilities (n, c)."""


def _logistic(rng: np.random.Generator) -> Any:
    return LogisticRegression(C=float(10 ** rng.uniform(-1.5, 1.5)), max_iter=300)


def _neighbours(rng: np.random.Generator) -> Any:
    return KNeighborsClassifier(int(rng.integers(1, 8)), weights=str(rng.choice(["uniform", "distance"])))


def _forest(rng: np.random.Generator) -> Any:
    return RandomForestClassifier(int(rng.integers(10, 30)), random_state=int(rng.integers(2**31)))


def _extra_trees(rng: np.random.Generator) -> Any:
    return ExtraTreesClassifier(int(rng.integers(10, 30)), random_state=int(rng.integers(2**31)))


def _network(rng: np.random.Generator) -> Any:
    return Network(
        hidden=int(rng.integers(24, 96)), epochs=int(rng.integers(15, 40)), seed=int(rng.integers(2**31))
    )


def _support_vectors(rng: np.random.Generator) -> Any:
    return SVC(C=float(10 ** rng.uniform(-0.5, 1.5)))


def _tree(rng: np.random.Generator) -> Any:
    return DecisionTreeClassifier(
        min_samples_leaf=int(rng.integers(1, 5)), random_state=int(rng.integers(2**31))
    )


KINDS: Final[Mapping[str, Callable[[np.random.Generator], Any]]] = {
    "logistic": _logistic,
    "neighbours": _neighbours,
    "forest": _forest,
    "extra_trees": _extra_trees,
    "network": _network,
    "support_vectors": _support_vectors,
    "tree": _tree,
}
"""Kinds of classifier; each draws its own settings."""


def train(rows: Floats, labels: Ints, classes: int, kind: str, rng: np.random.Generator) -> Predict:
    """Train one classifier.

    Args:
        rows: Shape (n, d).
        labels: Shape (n,), in [0, classes).
        classes: Labels there are; those that no row has get probability 0.
        kind: A name in `KINDS`.
        rng: Of its settings and its training.

    Returns:
        Its probabilities.
    """
    known = np.unique(labels)
    if len(known) == 1:
        return lambda asked: np.eye(classes)[np.full(len(asked), known[0])]
    model = make_pipeline(StandardScaler(), KINDS[kind](rng))
    with threadpool_limits(1):
        model.fit(rows, labels)

    def predict(asked: Floats) -> Floats:
        found = np.zeros((len(asked), classes))
        with threadpool_limits(1):
            found[:, known] = _probabilities(model, asked)
        return found

    return predict


def _probabilities(model: Any, asked: Floats) -> Floats:
    """A model's probabilities, of one that knows margins alone their softmax."""
    if hasattr(model, "predict_proba"):
        return np.asarray(model.predict_proba(asked), np.float64)
    margins = np.asarray(model.decision_function(asked), np.float64)
    scores = margins if margins.ndim == 2 else np.stack([-margins, margins], axis=1)
    return np.asarray(softmax(scores, axis=1), np.float64)
