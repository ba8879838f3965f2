"""A plan: which queries a suspect is asked, what agreement at each of them is worth, and what controls answered.

Everything is drawn from a public seed and fixed before a suspect is asked. Queries are chosen, and weighed, on models
of their own (design); the controls that a suspect is ranked among are others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.labels.data import Labelled
from kdguard.detectors.fingerprint.labels.queries import KIND_NAMES, REAL, SERVED, candidates
from kdguard.detectors.fingerprint.labels.training import KINDS, Predict, train
from kdguard.errors import LineageError
from kdguard.ledger.canonical import canonical, sha256

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Say = Callable[[int, int], None]

MOST_CONTROLS = 0.5
"""Share of the design's controls that may give the teacher's label at a query."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How a plan is made.

    Attributes:
        seed: Public; says which rows, queries and models are drawn.
        queries: Most that a suspect is asked.
        controls: Models that a suspect is ranked among; 99 support a claim at .01, more bear an outlier.
        design: Controls, and as many proxies of a student, on which queries are chosen.
        asked_share: Share of the rows kept from all training, to make queries of.
        mixed: Candidates that mix two rows.
        boundary: Candidates on the teacher's boundary.
    """

    seed: int = 0
    queries: int = 100
    controls: int = 250
    design: int = 75
    asked_share: float = 0.3
    mixed: int = 600
    boundary: int = 300

    def __post_init__(self) -> None:
        if min(self.queries, self.controls, self.design) < 1 or not 0 < self.asked_share < 1:
            raise LineageError(
                "queries, controls and design must be 1 at least and asked_share lie in (0, 1), got "
                f"{self.queries}, {self.controls}, {self.design} and {self.asked_share:g}"
            )


@dataclass(frozen=True, eq=False, kw_only=True)
class Plan:
    """What is asked and what it is worth.

    Attributes:
        names: Labels.
        queries: Shape (q, d).
        kinds: Of each query, see `queries.KIND_NAMES`, shape (q,).
        truth: True label of real rows, -1 of others, shape (q,).
        teacher: The teacher's probabilities, shape (q, c).
        controls: The controls' probabilities, shape (m, q, c).
        control_kinds: Kind of each control.
        control_rates: Chance that a control gives the teacher's label, read off the design, shape (q,).
        student_rates: Chance that a student does.
        settings: As given.
        accuracies: Share of right answers on rows kept from training: of the teacher, and controls' quartiles.
    """

    names: tuple[str, ...]
    queries: Floats
    kinds: Ints
    truth: Ints
    teacher: Floats
    controls: Floats
    control_kinds: tuple[str, ...]
    control_rates: Floats
    student_rates: Floats
    settings: Settings
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

    @property
    def weights(self) -> Floats:
        """Log-likelihood ratio of student against control, if the teacher's label is given and if not, (2, q)."""
        return np.stack(
            [
                np.log(self.student_rates / self.control_rates),
                np.log((1 - self.student_rates) / (1 - self.control_rates)),
            ]
        )

    def described(self) -> str:
        """Which kinds of query there are, in words."""
        counts = [f"{int((self.kinds == at).sum())} {name}" for at, name in enumerate(KIND_NAMES)]
        return ", ".join(counts)


def make_plan(
    data: Labelled,
    teacher: Predict,
    settings: Settings,
    say: Say = lambda done, total: None,
    *,
    served: Labelled | None = None,
) -> Plan:
    """Draw queries, train controls, and choose the queries that tell students from controls.

    Args:
        data: The owner's labelled rows, those that the teacher learnt from included: then controls share its data.
        teacher: The teacher's probabilities, one-hot where it tells labels alone.
        settings: How.
        say: Told models trained and wanted.
        served: Rows that the teacher labelled for the account behind the suspect, from its log, with their true labels:
            a student learnt the teacher's mistakes on these by heart, and whoever has the rows from elsewhere learnt
            the truth. They become candidates, what proxies learn, and part of what controls learn.

    Raises:
        LineageError: The teacher answers with another shape.
    """
    split, drawn, design_rng, control_rng = (
        np.random.default_rng([settings.seed, stream]) for stream in range(4)
    )
    unseen = split.permutation(np.flatnonzero(~data.taught))
    kept = np.sort(unseen[: max(int(settings.asked_share * len(data)), 1)])
    asked, rest = data.taken(kept), data.taken(np.setdiff1d(np.arange(len(data)), kept))
    checked = _checked(teacher, len(data.names))
    queries, kinds = candidates(asked.rows, checked, settings.mixed, settings.boundary, drawn)
    learnt = rest.rows
    if served is not None:
        learnt, rest = served.rows, _joined(rest, _served(served, data))
        queries = np.concatenate([queries, learnt])
        kinds = np.append(kinds, np.full(len(learnt), SERVED))
    said = checked(queries)
    labels = said.argmax(axis=1)
    total, done = settings.controls + 2 * settings.design, 0

    def answers(models: Iterator[Predict], places: Ints) -> Iterator[Floats]:
        nonlocal done
        for model in models:
            done += 1
            say(done, total)
            yield model(queries[places])

    everywhere = np.arange(len(queries))
    controls = answers(_controls(rest, settings.design, design_rng), everywhere)
    rates = _rate([one.argmax(axis=1) == labels for one in controls])
    copies = answers(_proxies(learnt, checked, settings.design, design_rng, len(data.names)), everywhere)
    student = _rate([one.argmax(axis=1) == labels for one in copies])
    chosen = _most_telling(student, rates, settings.queries)
    models = list(_controls(rest, settings.controls, control_rng))
    right = [float((model(asked.rows).argmax(axis=1) == asked.truth).mean()) for model in models]
    own = float((said[: len(asked)].argmax(axis=1) == asked.truth).mean())
    truth = np.where(kinds == REAL, np.pad(asked.truth, (0, len(kinds) - len(asked))), -1)
    return Plan(
        names=data.names,
        queries=queries[chosen],
        kinds=kinds[chosen],
        truth=truth[chosen],
        teacher=said[chosen],
        controls=np.stack(list(answers(iter(models), chosen))),
        control_kinds=tuple(_kind(at) for at in range(len(models))),
        control_rates=rates[chosen],
        student_rates=student[chosen],
        settings=settings,
        accuracies=(own, *np.quantile(right, [0.25, 0.5, 0.75]).tolist()),
    )


def _controls(data: Labelled, count: int, rng: np.random.Generator) -> Iterator[Predict]:
    """Models of the truth, each on rows of its own: from a sixth to four fifths of them, so that skills differ."""
    for at in range(count):
        places = _some(len(data), rng)
        yield train(data.rows[places], data.truth[places], len(data.names), _kind(at), rng)


def _served(served: Labelled, data: Labelled) -> Labelled:
    if served.rows.shape[1] != data.rows.shape[1] or not set(served.names) <= set(data.names):
        raise LineageError(
            f"served rows must have the {data.rows.shape[1]} features and the labels of the data, got "
            f"{served.rows.shape[1]} and {', '.join(served.names[:8])}"
        )
    return served


def _joined(data: Labelled, served: Labelled) -> Labelled:
    places = np.array([data.names.index(name) for name in served.names], np.int64)
    return Labelled(
        np.concatenate([data.rows, served.rows]),
        np.append(data.truth, places[served.truth]),
        data.names,
        np.append(data.taught, np.zeros(len(served), np.bool_)),
    )


def _proxies(
    learnt: Floats, teacher: Predict, count: int, rng: np.random.Generator, classes: int
) -> Iterator[Predict]:
    """Models of the teacher's labels, every other one on mixtures of rows as well."""
    for at in range(count):
        rows = learnt[_some(len(learnt), rng)]
        if at // len(KINDS) % 2:
            one, other = rng.integers(len(rows), size=(2, 3 * len(rows)))
            share = rng.uniform(0.2, 0.8, (len(one), 1))
            rows = np.concatenate([rows, share * rows[one] + (1 - share) * rows[other]])
        yield train(rows, teacher(rows).argmax(axis=1), classes, _kind(at), rng)


def _kind(at: int) -> str:
    return tuple(KINDS)[at % len(KINDS)]


def _some(rows: int, rng: np.random.Generator) -> Ints:
    share = float(np.exp(rng.uniform(np.log(1 / 6), np.log(4 / 5))))
    return rng.permutation(rows)[: max(int(share * rows), 2)]


def _rate(agreements: list[npt.NDArray[np.bool_]]) -> Floats:
    """Chance of agreement, with one imagined answer each way."""
    return (np.sum(agreements, axis=0) + 1.0) / (len(agreements) + 2.0)


def _most_telling(student: Floats, control: Floats, count: int) -> Ints:
    """Places of the queries where students and controls differ most, by Kullback-Leibler divergence.

    Only those where most controls contradict the teacher: elsewhere whoever is skilled agrees with it, and a skilled
    independent would pass for a student.
    """
    gain = student * np.log(student / control) + (1 - student) * np.log((1 - student) / (1 - control))
    ranked = np.where(control <= MOST_CONTROLS, gain, gain - 1e6)
    return np.sort(np.argsort(-ranked, kind="stable")[:count])


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
