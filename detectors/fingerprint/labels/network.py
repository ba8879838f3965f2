"""A network of one hidden layer in plain numpy: quick enough to train hundreds of controls on one core."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin

Floats = npt.NDArray[np.float64]
_BATCH = 32


@dataclass
class Network(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Trained by Adam on cross-entropy; in scikit-learn's form, so that it stands in a pipeline.

    Attributes:
        hidden: Units of the hidden layer.
        epochs: Passes over the rows.
        rate: Step of Adam.
        seed: Of weights and order.
    """

    hidden: int = 48
    epochs: int = 25
    rate: float = 0.01
    seed: int = 0
    classes_: Any = field(default=None, init=False, repr=False)
    weights_: Any = field(default=None, init=False, repr=False)

    def fit(self, rows: Floats, labels: npt.NDArray[np.int64]) -> Network:
        """Train on rows (n, d) and labels (n,)."""
        rng = np.random.default_rng(self.seed)
        self.classes_, targets = np.unique(labels, return_inverse=True)
        wanted = np.eye(len(self.classes_))[targets]
        shapes = ((rows.shape[1], self.hidden), (self.hidden, len(self.classes_)))
        weights = [rng.normal(0, np.sqrt(2 / shape[0]), shape) for shape in shapes]
        weights += [np.zeros(shape[1]) for shape in shapes]
        first, second = ([np.zeros_like(one) for one in weights] for _ in range(2))
        step = 0
        for _ in range(self.epochs):
            for batch in np.array_split(rng.permutation(len(rows)), max(len(rows) // _BATCH, 1)):
                step += 1
                for at, slope in enumerate(_slopes(rows[batch], wanted[batch], weights)):
                    first[at] = 0.9 * first[at] + 0.1 * slope
                    second[at] = 0.999 * second[at] + 0.001 * slope**2
                    size = self.rate * np.sqrt(1 - 0.999**step) / (1 - 0.9**step)
                    weights[at] -= size * first[at] / (np.sqrt(second[at]) + 1e-8)
        self.weights_ = weights
        return self

    def predict_proba(self, rows: Floats) -> Floats:
        """Probabilities, (n, d) to (n, c)."""
        return _forward(rows, self.weights_)[1]


def _forward(rows: Floats, weights: list[Floats]) -> tuple[Floats, Floats]:
    inner, outer, shift, bias = weights
    hidden = np.maximum(rows @ inner + shift, 0)
    scores = hidden @ outer + bias
    raised = np.exp(scores - scores.max(axis=1, keepdims=True))
    return hidden, raised / raised.sum(axis=1, keepdims=True)


def _slopes(rows: Floats, wanted: Floats, weights: list[Floats]) -> tuple[Floats, Floats, Floats, Floats]:
    """Gradients of the mean cross-entropy by each of the weights."""
    hidden, found = _forward(rows, weights)
    wrong = (found - wanted) / len(rows)
    back = (wrong @ weights[1].T) * (hidden > 0)
    return rows.T @ back, hidden.T @ wrong, back.sum(axis=0), wrong.sum(axis=0)
