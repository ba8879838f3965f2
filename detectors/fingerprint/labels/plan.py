"""A plan: which queries a suspect is asked, what the teacher's label at each of them is worth, what controls answered.

Everything is drawn from a public seed and fixed before a suspect is asked. Queries are chosen, and weighed, on models
of their own (design); the controls that a suspect is ranked among are others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.labels.choice import Candidates, choose
from kdguard.detectors.fingerprint.labels.crowd import Pool, copies, like, strangers
from kdguard.detectors.fingerprint.labels.data import Labelled
from kdguard.detectors.fingerprint.labels.queries import KIND_NAMES, SERVED, candidates
from kdguard.detectors.fingerprint.labels.training import Predict
from kdguard.errors import LineageError
from kdguard.ledger.canonical import canonical, sha256

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Say = Callable[[int, int], None]
Design = tuple[list[Predict], list[Predict]]
"""Copies and strangers."""

OTHER_ROWS, SAME_ROWS, OTHER_TEACHERS = range(3)
"""Groups of controls: who learnt the truth, who learnt it of the teacher's very rows, and who learnt of a decoy."""
FEWEST_SAME: Final = 20
"""Rows that the teacher learnt from, below which no controls are trained on them alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a plan is made.

    Attributes:
        seed: Public; says which rows, queries and models are drawn.
        queries: Most that a suspect is asked.
        controls: Models of each group that a suspect is ranked among; 99 support a claim at .01, more bear an outlier.
        design: Strangers, and as many copies, on which queries are chosen.
        each: Candidates of each kind.
    """

    seed: int = 0
    queries: int = 100
    controls: int = 200
    design: int = 168
    each: int = 300

    def __post_init__(self) -> None:
        if min(self.queries, self.controls, self.design, self.each) < 1:
            raise LineageError(
                "queries, controls, design and each must be 1 at least, got "
                f"{self.queries}, {self.controls}, {self.design} and {self.each}"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What is asked and what it is worth.

    Attributes:
        names: Labels.
        queries: Shape (q, d).
        kinds: Of each query, see `queries.KIND_NAMES`, shape (q,).
        teacher: The teacher's probabilities, shape (q, c).
        weights: What the teacher's label is worth, shape (q,), positive, adding up to 1.
        controls: The controls' probabilities, shape (m, q, c).
        groups: `OTHER_ROWS`, `SAME_ROWS` or `OTHER_TEACHERS` for each control, shape (m,).
        rates: Chance that a copy, and that a stranger, gives the teacher's label, read off the design, shape (2, q).
        accuracies: Share of right answers on the owner's rows that the teacher did not learn: of the teacher, and
            quartiles of the controls that learnt the truth of other rows, some of these among them.
    """

    names: tuple[str, ...]
    queries: Floats
    kinds: Ints
    teacher: Floats
    weights: Floats
    controls: Floats
    groups: Ints
    rates: Floats
    accuracies: tuple[float, ...]

    @property
    def teacher_labels(self) -> Ints:
        """The teacher's label of each query, shape (q,)."""
        return self.teacher.argmax(axis=1)

    @property
    def digest(self) -> str:
        """SHA-256 of the queries and of what they are worth; commit to it before a suspect is asked."""
        told = [self.queries.tolist(), self.teacher_labels.tolist(), np.round(self.weights, 9).tolist()]
        return sha256(canonical(told))

    def described(self) -> str:
        """Which queries there are, how often copies and strangers give the teacher's label, and how skilled all are."""
        counts = np.bincount(self.kinds, minlength=len(KIND_NAMES))
        kinds = ", ".join(f"{count} {name}" for count, name in zip(counts, KIND_NAMES, strict=True) if count)
        copy, stranger = self.rates.mean(axis=1)
        teacher, low, _, high = self.accuracies
        return (
            f"{kinds}; there copies give the teacher's label {copy:.0%}, strangers {stranger:.0%}; right on rows that "
            f"did not teach: the teacher {teacher:.0%}, half of the controls {low:.0%} to {high:.0%}"
        )


@dataclass(frozen=True, eq=False)
class Prepared:
    """All that was trained and tried; plans of any size follow from it.

    Attributes:
        data: The owner's rows.
        teacher: The teacher.
        tried: Candidates.
        controls: Trained controls.
        groups: Of each control, shape (m,).
    """

    data: Labelled
    teacher: Predict
    tried: Candidates
    controls: tuple[Predict, ...]
    groups: Ints

    def plan(self, queries: int) -> Plan:
        """Choose at most so many queries and ask the controls.

        Raises:
            LineageError: Nothing tells copies of the teacher from strangers.
        """
        places, weights = choose(self.tried, queries)
        if not len(places):
            raise LineageError(
                "copies of the teacher answer as strangers do: labels cannot tell its descendants"
            )
        asked, fresh = self.tried.queries[places], self.data.taken(np.flatnonzero(~self.data.taught))
        right = [
            float((model(fresh.rows).argmax(axis=1) == fresh.truth).mean())
            for model in (self.teacher, *np.array(self.controls, object)[self.groups == OTHER_ROWS])
        ]
        return Plan(
            names=self.data.names,
            queries=asked,
            kinds=self.tried.kinds[places],
            teacher=self.teacher(asked),
            weights=weights,
            controls=np.stack([model(asked) for model in self.controls]),
            groups=self.groups,
            rates=self.tried.rates[:, places],
            accuracies=(right[0], *np.quantile(right[1:], [0.25, 0.5, 0.75]).tolist()),
        )


def make_plan(
    data: Labelled,
    teacher: Predict,
    settings: Settings,
    say: Say = lambda done, total: None,
    *,
    served: Labelled | None = None,
) -> Plan:
    """Draw queries, train controls, and choose the queries that tell copies from strangers; see `prepare`."""
    return prepare(data, teacher, settings, say, served=served).plan(settings.queries)


def prepare(
    data: Labelled,
    teacher: Predict,
    settings: Settings,
    say: Say = lambda done, total: None,
    *,
    served: Labelled | None = None,
) -> Prepared:
    """Train controls and try candidates.

    Args:
        data: The owner's labelled rows, those that the teacher learnt from included and marked, where they are known.
        teacher: The teacher's probabilities, one-hot where it tells labels alone.
        settings: How.
        say: Told models trained and wanted.
        served: Rows that the teacher labelled for the account behind the suspect, from its log, with their true labels:
            a thief learnt the teacher's mistakes on these by heart, and whoever has the rows from elsewhere learnt the
            truth. Its mistakes become candidates, and the rows what copies learn and part of what strangers learn.

    Raises:
        LineageError: The teacher answers with another shape.
    """
    drawn, design_rng, control_rng, same_rng, decoy_rng = (
        np.random.default_rng([settings.seed, stream]) for stream in range(5)
    )
    classes = len(data.names)
    checked = _checked(teacher, classes)
    others, same = _pools(data, served)
    present = [OTHER_ROWS, OTHER_TEACHERS, *([SAME_ROWS] if same else [])]
    groups = np.repeat(present, settings.controls)
    count = _counted(say, len(groups) + 2 * settings.design)
    queries, kinds = candidates(data.rows, checked, settings.each, drawn)
    decoys = like(checked, queries, others, classes, decoy_rng)
    learnt = others if served is None else [Pool(served.rows, served.truth, 0.5, 1)]
    design = (
        list(count(copies(learnt, checked, settings.design, classes, design_rng))),
        list(count(strangers(others, settings.design, classes, design_rng, decoys=decoys))),
    )
    if served is not None:
        wrong = _mistakes(served, data, checked)
        queries, kinds = np.concatenate([queries, wrong]), np.append(kinds, np.full(len(wrong), SERVED))
    tried = _tried(queries, kinds, checked, design)
    each = settings.controls
    controls = [
        *count(strangers(others, each, classes, control_rng, ways=("natural",))),
        *count(strangers(others, each, classes, decoy_rng, ways=("mixed", "crossed"), decoys=decoys)),
        *count(strangers(same, len(groups) - 2 * each, classes, same_rng)),
    ]
    return Prepared(data, checked, tried, tuple(controls), groups)


def _pools(data: Labelled, served: Labelled | None) -> tuple[list[Pool], list[Pool]]:
    """Rows of strangers: with and without those that taught; and those that taught alone."""
    if served is not None:
        data = _joined(data, served)
    fresh, taught = data.taken(np.flatnonzero(~data.taught)), data.taken(np.flatnonzero(data.taught))
    others = [Pool(fresh.rows, fresh.truth)]
    if len(taught):
        others.append(Pool(data.rows, data.truth))
    return others, [Pool(taught.rows, taught.truth, 0.5, 1)] if len(taught) >= FEWEST_SAME else []


def _mistakes(served: Labelled, data: Labelled, teacher: Predict) -> Floats:
    """Served rows that the teacher labels wrongly; where it is right, whoever is skilled agrees with it."""
    names = np.array([data.names.index(name) for name in served.names], np.int64)
    return served.rows[teacher(served.rows).argmax(axis=1) != names[served.truth]]


def _tried(queries: Floats, kinds: Ints, teacher: Predict, design: Design) -> Candidates:
    labels = teacher(queries).argmax(axis=1)
    told = [np.stack([model(queries).argmax(axis=1) == labels for model in models]) for models in design]
    return Candidates(queries, kinds, labels, told[0], told[1])


def _joined(data: Labelled, served: Labelled) -> Labelled:
    if served.rows.shape[1] != data.rows.shape[1] or not set(served.names) <= set(data.names):
        raise LineageError(
            f"served rows must have the {data.rows.shape[1]} features and the labels of the data, got "
            f"{served.rows.shape[1]} and {', '.join(served.names[:8])}"
        )
    places = np.array([data.names.index(name) for name in served.names], np.int64)
    return Labelled(
        np.concatenate([data.rows, served.rows]),
        np.append(data.truth, places[served.truth]),
        data.names,
        np.append(data.taught, np.zeros(len(served), np.bool_)),
    )


def _counted(say: Say, total: int) -> Callable[[Iterator[Predict]], Iterator[Predict]]:
    done = 0

    def count(models: Iterator[Predict]) -> Iterator[Predict]:
        nonlocal done
        for model in models:
            done += 1
            say(done, total)
            yield model

    return count


def _checked(teacher: Predict, classes: int) -> Predict:
    def ask(rows: Floats) -> Floats:
        found = np.asarray(teacher(rows), np.float64)
        if found.shape != (len(rows), classes):
            raise LineageError(
                f"the teacher must answer {(len(rows), classes)} probabilities, it answered {found.shape}; are its "
                "labels those of the data?"
            )
        return found

    return ask
