"""Worlds for the label tests: one teacher, what its owner has, thieves of every kind, and models that never met it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn import datasets
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kdguard.detectors.fingerprint.labels.queries import mixed
from kdguard.detectors.fingerprint.labels.training import KINDS, Predict, train

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rng = np.random.Generator

OWN, OUTSIDE = 0.5, 0.85
"""Of the rows the owner has the first half, 15 % nobody learns, and the others have the rest."""


def _made() -> tuple[Floats, Ints]:
    found = datasets.make_classification(
        1500, 20, n_informative=8, n_redundant=4, n_classes=4, class_sep=1.2, flip_y=0.03, random_state=1
    )
    return found[0], found[1]


DATA: Mapping[str, Callable[[], tuple[Any, Any]]] = {
    "digits": lambda: datasets.load_digits(return_X_y=True),
    "wine": lambda: datasets.load_wine(return_X_y=True),
    "breast_cancer": lambda: datasets.load_breast_cancer(return_X_y=True),
    "made": _made,
}
UNLISTED: Mapping[str, Callable[[Rng], Any]] = {
    "bayes": lambda rng: GaussianNB(var_smoothing=10 ** rng.uniform(-3, -1)),
    "discriminants": lambda rng: LinearDiscriminantAnalysis("lsqr", shrinkage=rng.uniform(0.05, 0.5)),
    "boosting": lambda rng: HistGradientBoostingClassifier(
        max_iter=30, random_state=int(rng.integers(2**31))
    ),
    "two_layers": lambda rng: MLPClassifier(
        (32, 16), early_stopping=True, random_state=int(rng.integers(2**31))
    ),
}
"""Kinds of classifier that no control is of."""


@dataclass(frozen=True, eq=False)
class World:
    """One teacher and everybody's rows.

    Attributes:
        own: The owner's rows, those that taught first, shape (n, d).
        own_truth: Their labels.
        taught: How many taught.
        outside: Other people's rows.
        outside_truth: Their labels.
        held: Rows that nobody learnt, for rivals that ask about real rows.
        held_truth: Their labels.
        teacher: The teacher.
        kind: Its kind.
        classes: Labels there are.
    """

    own: Floats
    own_truth: Ints
    taught: int
    outside: Floats
    outside_truth: Ints
    held: Floats
    held_truth: Ints
    teacher: Predict
    kind: str
    classes: int


def world(name: str, kind: str, share: float, rng: Rng) -> World:
    """Part the rows of a data set and train a teacher on a share of four tenths of its owner's."""
    rows, truth = DATA[name]()
    order = rng.permutation(len(rows))
    rows, truth = np.asarray(rows[order], np.float64), np.asarray(truth[order], np.int64)
    own, outside = int(OWN * len(rows)), int(OUTSIDE * len(rows))
    classes, taught = int(truth.max()) + 1, int(share * 0.4 * own)
    teacher = train(rows[:taught], truth[:taught], classes, kind, rng)
    return World(
        own=rows[:own],
        own_truth=truth[:own],
        taught=taught,
        outside=rows[own:outside],
        outside_truth=truth[own:outside],
        held=rows[outside:],
        held_truth=truth[outside:],
        teacher=teacher,
        kind=kind,
        classes=classes,
    )


def students(one: World, way: str, each: int, rng: Rng) -> Iterator[Predict]:
    """Thieves: models of every listed kind, taught on four fifths of the outside rows in some way."""
    for kind in KINDS:
        for _ in range(each):
            rows = rng.permutation(one.outside)[: int(0.8 * len(one.outside))]
            yield train(*WAYS[way](one, rows, rng), one.classes, kind, rng)


def independents(one: World, what: str, each: int, rng: Rng) -> Iterator[Predict]:
    """Models of listed and unlisted kinds that never met the teacher."""
    for kind in (*KINDS, *UNLISTED):
        for _ in range(each):
            rows, labels = INDEPENDENTS[what](one, rng)
            yield (
                train(rows, labels, one.classes, kind, rng)
                if kind in KINDS
                else _fitted(rows, labels, one.classes, UNLISTED[kind](rng))
            )


def _fitted(rows: Floats, labels: Ints, classes: int, model: Any) -> Predict:
    fitted = make_pipeline(StandardScaler(), model).fit(rows, labels)
    known = np.unique(labels)

    def predict(asked: Floats) -> Floats:
        found = np.zeros((len(asked), classes))
        found[:, known] = fitted.predict_proba(asked)
        return found

    return predict


def _labels(one: World, rows: Floats) -> tuple[Floats, Ints]:
    return rows, one.teacher(rows).argmax(axis=1)


def _noised(rows: Floats, count: int, rng: Rng) -> Floats:
    aside = rng.normal(size=(count, rows.shape[1])) * rows.std(axis=0) * rng.uniform(0.2, 1.2, (count, 1))
    return np.asarray(rows[rng.integers(len(rows), size=count)] + aside, np.float64)


def _soft(one: World, rows: Floats, rng: Rng) -> tuple[Floats, Ints]:
    """Four labels a row, drawn from the teacher's probabilities."""
    again = np.repeat(rows, 4, axis=0)
    told = one.teacher(again).cumsum(axis=1)
    return again, (told > rng.random((len(again), 1))).argmax(axis=1)


def _half(one: World, rows: Floats, rng: Rng) -> tuple[Floats, Ints]:
    """Half of the labels are the teacher's, the others true ones of as many rows of its own."""
    stolen, fair = rows[::2], rng.permutation(len(one.outside))[: len(rows) // 2]
    asked, said = _labels(one, stolen)
    return np.concatenate([asked, one.outside[fair]]), np.append(said, one.outside_truth[fair])


def _jacobian(one: World, rows: Floats, rng: Rng) -> tuple[Floats, Ints]:
    """Two rounds of steps along the sign of a substitute's gradient (Papernot et al. 2017, AsiaCCS)."""
    for _ in range(2):
        asked, said = _labels(one, rows)
        substitute, step = train(asked, said, one.classes, "network", rng), 0.05 * rows.std(axis=0) + 1e-9
        before = substitute(rows)[np.arange(len(rows)), said]
        slopes = np.stack(
            [
                substitute(rows + step * np.eye(rows.shape[1])[at])[np.arange(len(rows)), said] - before
                for at in range(rows.shape[1])
            ],
            axis=1,
        )
        rows = np.concatenate([rows, rows - 0.3 * rows.std(axis=0) * np.sign(slopes)])
    return _labels(one, rows)


WAYS: Mapping[str, Callable[[World, Floats, Rng], tuple[Floats, Ints]]] = {
    "natural rows": lambda one, rows, rng: _labels(one, rows),
    "half natural, half true": _half,
    "natural rows, probabilities": _soft,
    "and mixtures": lambda one, rows, rng: _labels(
        one, np.concatenate([rows, mixed(rows, 5 * len(rows), rng)])
    ),
    "and many mixtures": lambda one, rows, rng: _labels(
        one, np.concatenate([rows, mixed(rows, 30 * len(rows), rng)])
    ),
    "and noise": lambda one, rows, rng: _labels(
        one, np.concatenate([rows, _noised(rows, 5 * len(rows), rng)])
    ),
    "and Jacobian steps": _jacobian,
}


def _some(rows: Floats, truth: Ints, rng: Rng) -> tuple[Floats, Ints]:
    places = rng.permutation(len(rows))[: int(rng.uniform(0.5, 1) * len(rows))]
    return rows[places], truth[places]


def _of_another(one: World, rng: Rng) -> tuple[Floats, Ints]:
    """What a thief learns from another teacher of the same kind."""
    order = rng.permutation(len(one.outside))
    first, second = np.array_split(order, 2)
    other = train(one.outside[first], one.outside_truth[first], one.classes, one.kind, rng)
    rows = np.concatenate([one.outside[second], mixed(one.outside[second], 3 * len(second), rng)])
    return rows, other(rows).argmax(axis=1)


INDEPENDENTS: Mapping[str, Callable[[World, Rng], tuple[Floats, Ints]]] = {
    "other rows": lambda one, rng: _some(one.outside, one.outside_truth, rng),
    "the owner's rows": lambda one, rng: _some(one.own, one.own_truth, rng),
    "another teacher's labels": _of_another,
    "the teacher's very rows": lambda one, rng: (one.own[: one.taught], one.own_truth[: one.taught]),
}
