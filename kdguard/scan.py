"""The fold: create, update, merge, result; and the runner that takes scores at checkpoints.

A detector declares what it keeps of each subject as columns, each with a reduction that is associative and
commutative on integers (sum, max, min, or). Everything else follows: state is one table with a row a subject,
merging is a group-wise reduction, and how a log is cut or spread over workers cannot change a byte.
What depends on order (ordinals, gaps) is put into the rows by `kdguard.features.session` beforehand.
"""

from __future__ import annotations

import abc
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Evidence, Guarantee
from kdguard.features.session import Rows

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.uint64]


def _checkpoints() -> tuple[int, ...]:
    doublings = [10 * 2**step for step in range(21)]
    return tuple(sorted(doublings + [count * 3 // 2 for count in doublings]))


CHECKPOINTS = _checkpoints()
"""Request counts at which scores are taken: 10, 15, 20, 30, 40, 60, ... ; looking at each is paid for."""


@dataclass(frozen=True, slots=True)
class Column:
    """One thing kept of each subject.

    Attributes:
        name: Name of the column.
        kind: numpy dtype; integers only, so that sums do not depend on their order.
        width: Values a subject.
        reduce: How two values of one subject become one.
    """

    name: str
    kind: str
    width: int = 1
    reduce: Literal["sum", "max", "min", "or"] = "sum"

    @property
    def ufunc(self) -> np.ufunc:
        """The reduction as a numpy ufunc."""
        return {"sum": np.add, "max": np.maximum, "min": np.minimum, "or": np.bitwise_or}[self.reduce]


@dataclass(frozen=True, slots=True)
class State:
    """What a detector keeps of m subjects.

    Attributes:
        subjects: Hashes of the subjects, ascending and unique, shape (m,).
        columns: Arrays of shape (m, width), by column name.
    """

    subjects: Codes
    columns: Mapping[str, npt.NDArray[Any]]

    def __len__(self) -> int:
        return len(self.subjects)

    def take(self, keep: npt.NDArray[Any]) -> State:
        """Return the state of the subjects selected by a mask or an ascending index array."""
        return State(self.subjects[keep], {name: values[keep] for name, values in self.columns.items()})

    @property
    def bytes_per_subject(self) -> int:
        """Size of one subject's row in bytes, its key included."""
        return 8 + sum(values.itemsize * values.shape[1] for values in self.columns.values())


class Detector(abc.ABC):
    """A frozen value that folds rows into a state and scores the subjects in it.

    Laws, checked for every detector by tests/contract: `merge` is associative and commutative, `create()` is
    neutral, and splitting the rows anywhere never changes a byte of the state.

    A detector is abstract or final: subclasses supply `columns`, `observe` and `scores` and override nothing else.

    Attributes:
        name: Name of the detector.
        version: Changes with anything that changes a score.
        outputs: Names of the score columns.
        resolution: Smallest difference in each output that means something. Where honest accounts all agree, it
            keeps a single odd request from looking like the rarest thing ever seen.
        log10_e: Outputs that are base-10 logs of e-values against the reference: on one scale at any number of
            requests, and taken as they are.
        requires: Exchange columns without which the detector abstains.
    """

    name: ClassVar[str]
    version: ClassVar[str] = "1"
    outputs: ClassVar[tuple[str, ...]]
    resolution: ClassVar[tuple[float, ...]]
    log10_e: ClassVar[tuple[str, ...]] = ()
    requires: ClassVar[tuple[str, ...]] = ("prompt",)

    @property
    @abc.abstractmethod
    def columns(self) -> tuple[Column, ...]:
        """What is kept of each subject."""

    @abc.abstractmethod
    def observe(self, rows: Rows) -> dict[str, npt.NDArray[Any]]:
        """Return what each row adds to each column, shape (n,) or (n, width)."""

    @abc.abstractmethod
    def scores(self, state: State) -> Floats:
        """Score m subjects, shape (m, len(outputs)); larger is more like extraction, NaN = cannot tell."""

    @abc.abstractmethod
    def explain(self, output: str, score: float) -> str:
        """Put one output's score into a sentence a person can check."""

    def fit(self, rows: Rows) -> Self:
        """Return this detector with its parameters learnt from reference rows; by default unchanged."""
        return self

    def create(self) -> State:
        """Return the state of nobody."""
        return State(
            np.empty(0, np.uint64),
            {column.name: np.empty((0, column.width), column.kind) for column in self.columns},
        )

    def update(self, state: State, rows: Rows) -> State:
        """Return `state` with `rows` added."""
        return self.merge(state, self._reduce(rows.subject, self.observe(rows)))

    def merge(self, left: State, right: State) -> State:
        """Return the state of both: rows of one subject are combined, the others kept."""
        if not len(left):
            return right
        if not len(right):
            return left
        subjects = np.concatenate([left.subjects, right.subjects])
        return self._reduce(
            subjects,
            {name: np.concatenate([left.columns[name], right.columns[name]]) for name in left.columns},
        )

    def pool(self, state: State, groups: Codes) -> State:
        """Combine subjects into groups: row i of `state` goes to group `groups[i]`."""
        return self._reduce(groups, dict(state.columns))

    def result(self, state: State) -> tuple[Evidence, ...]:
        """Return descriptive evidence for every subject that can be scored; subjects are named by hash."""
        scores = self.scores(state)
        return tuple(
            Evidence(
                detector=f"{self.name}.{output}",
                version=self.version,
                subject=f"{int(state.subjects[row]):016x}",
                guarantee=Guarantee.DESCRIPTIVE,
                score=float(scores[row, at]),
                summary=self.explain(output, float(scores[row, at])),
            )
            for row in range(len(state))
            for at, output in enumerate(self.outputs)
            if np.isfinite(scores[row, at])
        )

    def _reduce(self, subjects: Codes, values: Mapping[str, npt.NDArray[Any]]) -> State:
        if not len(subjects):
            return self.create()
        if (subjects[1:] < subjects[:-1]).any():
            order = np.argsort(subjects, kind="stable")
            subjects = subjects[order]
            values = {name: value[order] for name, value in values.items()}
        starts = np.flatnonzero(np.concatenate(([True], subjects[1:] != subjects[:-1])))
        reduced = {}
        for column in self.columns:
            value = values[column.name].reshape(len(subjects), column.width)
            reduced[column.name] = column.ufunc.reduceat(value, starts, axis=0, dtype=column.kind)
        return State(subjects[starts], reduced)


@dataclass(frozen=True, slots=True)
class Trajectories:
    """Scores of accounts at checkpoints, in long form: one row an account and checkpoint reached.

    Attributes:
        subject: Hash of the account, shape (t,); rows of one account are adjacent and ascend.
        checkpoint: Index into `CHECKPOINTS`, shape (t,).
        time_us: Time of the request that reached the checkpoint, shape (t,).
        scores: Detector outputs, shape (t, k), float64; NaN = cannot tell.
    """

    subject: Codes
    checkpoint: npt.NDArray[np.int64]
    time_us: npt.NDArray[np.int64]
    scores: Floats

    @classmethod
    def concatenate(cls, parts: Sequence[Trajectories], width: int) -> Trajectories:
        """Join trajectories of disjoint accounts, in order."""
        if not parts:
            none = np.empty(0, np.int64)
            return cls(np.empty(0, np.uint64), none, none, np.empty((0, width)))
        return cls(
            np.concatenate([part.subject for part in parts]),
            np.concatenate([part.checkpoint for part in parts]),
            np.concatenate([part.time_us for part in parts]),
            np.concatenate([part.scores for part in parts]),
        )

    def take(self, keep: npt.NDArray[Any]) -> Trajectories:
        """Return the rows selected by a mask or index array."""
        return Trajectories(self.subject[keep], self.checkpoint[keep], self.time_us[keep], self.scores[keep])


def resolutions(detectors: Sequence[Detector]) -> Floats:
    """Return the resolution of every score column, in the order of `Trajectories.scores`."""
    return np.array([value for detector in detectors for value in detector.resolution])


def e_value_columns(detectors: Sequence[Detector]) -> npt.NDArray[np.bool_]:
    """Return which score columns are log10 e-values, in the order of `Trajectories.scores`."""
    return np.array(
        [name in detector.log10_e for detector in detectors for name in detector.outputs], np.bool_
    )


def output_names(detectors: Sequence[Detector]) -> tuple[str, ...]:
    """Return `detector.output` for every score column, in the order of `Trajectories.scores`."""
    return tuple(f"{detector.name}.{output}" for detector in detectors for output in detector.outputs)


def follow(chunks: Iterable[Rows], detectors: Sequence[Detector]) -> Iterator[Trajectories]:
    """Fold sorted rows and take every detector's scores whenever an account reaches a checkpoint.

    Only the account that spans two chunks is carried, so memory does not grow with the log.

    Args:
        chunks: Rows in canonical order; an account may span chunks.
        detectors: Detectors, whose outputs become the score columns.

    Yields:
        Trajectories of the accounts of each chunk.
    """
    carried = [detector.create() for detector in detectors]
    for rows in chunks:
        if not len(rows):
            continue
        last = rows.subject[-1]
        rows = rows.take(_may_be_seen(rows))
        states = [
            state if len(state) and state.subjects[0] == rows.subject[0] else detector.create()
            for state, detector in zip(carried, detectors, strict=True)
        ]
        states, reached = advance(states, rows, detectors)
        carried = [state.take(state.subjects == last) for state in states]
        if len(reached.subject):
            yield reached


def advance(
    states: Sequence[State], rows: Rows, detectors: Sequence[Detector]
) -> tuple[list[State], Trajectories]:
    """Fold rows on top of the states of their accounts, taking scores whenever an account reaches a checkpoint.

    Args:
        states: One a detector, of the accounts' earlier rows; accounts without rows here keep theirs.
        rows: Rows in canonical order, ordinals counted from each account's first row ever.
        detectors: Detectors, whose outputs become the score columns.

    Returns:
        The states after the rows, and the scores taken, ordered by subject and checkpoint.
    """
    states, parts = list(states), []
    band = np.searchsorted(CHECKPOINTS, rows.ordinal, side="right")
    for level in np.unique(band):
        part = rows.take(band == level)
        states = [detector.update(state, part) for detector, state in zip(detectors, states, strict=True)]
        if level < len(CHECKPOINTS):
            reached = part.take(part.ordinal == CHECKPOINTS[level] - 1)
            if len(reached):
                parts.append(_snapshot(detectors, states, reached, int(level)))
    joined = Trajectories.concatenate(parts, len(output_names(detectors)))
    return states, joined.take(np.lexsort((joined.checkpoint, joined.subject)))


def _may_be_seen(rows: Rows) -> npt.NDArray[np.bool_]:
    """Rows that a later checkpoint looks at: the last account's, and each other's up to its last checkpoint.

    Most accounts of a log can be too short for any score; no state is made for them.
    """
    starts = np.flatnonzero(np.concatenate(([True], rows.subject[1:] != rows.subject[:-1])))
    ends = np.append(starts[1:], len(rows))
    reached = np.searchsorted(CHECKPOINTS, rows.ordinal[ends - 1] + 1, side="right")
    seen = np.where(reached > 0, np.take(CHECKPOINTS, reached - 1), 0)
    seen[-1] = np.iinfo(np.int64).max
    return rows.ordinal < np.repeat(seen, ends - starts)


def _snapshot(
    detectors: Sequence[Detector], states: Sequence[State], reached: Rows, level: int
) -> Trajectories:
    keep = np.searchsorted(states[0].subjects, reached.subject)
    scores = [detector.scores(state.take(keep)) for detector, state in zip(detectors, states, strict=True)]
    return Trajectories(
        reached.subject, np.full(len(reached), level), reached.time_us, np.concatenate(scores, axis=1)
    )
