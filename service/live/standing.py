"""What is folded for good of some accounts in one epoch, and folding further rows on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.features.session import Cursor, Rows, rows_from
from kdguard.features.signals import NO_TIME
from kdguard.scan import Detector, State, Trajectories, advance, output_names
from kdguard.scoring.pipeline import Profiles

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Standing:
    """The fold of m accounts so far, ascending by subject.

    Attributes:
        subject: Hash of the account, shape (m,).
        account_id: The ids, shape (m,), object.
        org: Hash of the organisation that the log names, 0 = none.
        requests: Rows folded; the ordinal of the next.
        first_us, last_us: Times of the first and last row.
        flags: Flags of the last row.
        states: One a detector, of these accounts.
        trajectories: Scores at the checkpoints they reached.
    """

    subject: Codes
    account_id: npt.NDArray[np.object_]
    org: Codes
    requests: Ints
    first_us: Ints
    last_us: Ints
    flags: npt.NDArray[np.int32]
    states: tuple[State, ...]
    trajectories: Trajectories

    def __len__(self) -> int:
        return len(self.subject)

    def profiles(self) -> Profiles:
        """As the batch's fold gives them."""
        return Profiles(
            self.subject,
            self.account_id,
            self.org,
            self.requests,
            self.first_us,
            self.last_us,
            self.trajectories,
        )

    def without(self, subject: int) -> Standing:
        """Without one account."""
        keep = self.subject != np.uint64(subject)
        rows = self.trajectories
        return replace(
            self,
            **{
                name: getattr(self, name)[keep]
                for name in ("subject", "account_id", "org", "requests", "first_us", "last_us", "flags")
            },
            states=tuple(state.take(state.subjects != np.uint64(subject)) for state in self.states),
            trajectories=rows.take(rows.subject != np.uint64(subject)),
        )


def nobody(detectors: Sequence[Detector]) -> Standing:
    """The fold of no rows."""
    none = np.empty(0, np.int64)
    codes = np.empty(0, np.uint64)
    return Standing(
        codes,
        np.empty(0, np.object_),
        codes,
        none,
        none,
        none,
        np.empty(0, np.int32),
        tuple(detector.create() for detector in detectors),
        Trajectories.concatenate([], len(output_names(detectors))),
    )


def folded(standing: Standing, signals: pa.RecordBatch, detectors: Sequence[Detector]) -> Standing:
    """Fold signals on top.

    Args:
        standing: What was folded before; no row of it comes after a row of `signals` of its account.
        signals: Rows in canonical order, duplicates dropped.
        detectors: Whose states these are.
    """
    if not signals.num_rows:
        return standing
    rows = _continued(rows_from(signals, Cursor())[0], standing)
    touched = np.isin(standing.subject, rows.subject)
    mine = [state.take(touched) for state in standing.states]
    states, reached = advance(mine, rows, detectors)
    joined = Trajectories.concatenate([standing.trajectories, reached], 0)
    order = np.lexsort((joined.checkpoint, joined.subject))
    return _merged(
        standing,
        touched,
        _summarised(rows, signals, standing),
        tuple(
            detector.merge(old.take(~touched), new)
            for detector, old, new in zip(detectors, standing.states, states, strict=True)
        ),
        joined.take(order),
    )


def _continued(rows: Rows, standing: Standing) -> Rows:
    """Ordinals, gaps and flags that go on from the accounts' last rows."""
    starts = np.flatnonzero(np.concatenate(([True], rows.subject[1:] != rows.subject[:-1])))
    lengths = np.diff(np.append(starts, len(rows)))
    at, known = _place(standing.subject, rows.subject[starts])
    requests = _taken(standing.requests, at, known, 0)
    gap_us, flags = rows.gap_us.copy(), rows.previous_flags.copy()
    before_us = _taken(standing.last_us, at, known, NO_TIME)
    here_us = rows.time_us[starts]
    timed = known & (before_us != NO_TIME) & (here_us != NO_TIME)
    gap_us[starts[timed]] = here_us[timed] - before_us[timed]
    flags[starts] = _taken(standing.flags, at, known, 0)
    return replace(
        rows, ordinal=rows.ordinal + np.repeat(requests, lengths), gap_us=gap_us, previous_flags=flags
    )


def _summarised(
    rows: Rows, signals: pa.RecordBatch, standing: Standing
) -> dict[str, npt.NDArray[np.generic]]:
    """What is kept of each account of the rows, its earlier rows included."""
    starts = np.flatnonzero(np.concatenate(([True], rows.subject[1:] != rows.subject[:-1])))
    ends = np.append(starts[1:], len(rows)) - 1
    subject = rows.subject[starts]
    at, known = _place(standing.subject, subject)
    org = np.maximum.reduceat(signals.column("org").to_numpy(), starts)
    first_us = rows.time_us[starts]
    names = signals.column("account_id").take(pa.array(starts, pa.int64())).to_pylist()
    return {
        "subject": subject,
        "account_id": np.array(names, dtype=np.object_),
        "org": np.maximum(org, _taken(standing.org, at, known, 0)),
        "requests": rows.ordinal[ends] + 1,
        "first_us": np.where(known, _taken(standing.first_us, at, known, 0), first_us),
        "last_us": rows.time_us[ends],
        "flags": rows.flags[ends].astype(np.int32),
    }


def _merged(
    standing: Standing,
    touched: npt.NDArray[np.bool_],
    fresh: dict[str, npt.NDArray[np.generic]],
    states: tuple[State, ...],
    trajectories: Trajectories,
) -> Standing:
    columns = {
        name: np.concatenate([getattr(standing, name)[~touched], values]) for name, values in fresh.items()
    }
    order = np.argsort(columns["subject"])
    return Standing(
        **{name: values[order] for name, values in columns.items()},
        states=states,
        trajectories=trajectories,
    )


def _place(known: Codes, wanted: Codes) -> tuple[Ints, npt.NDArray[np.bool_]]:
    at = np.searchsorted(known, wanted)
    inside = at < len(known)
    at = np.where(inside, at, 0)
    return at, inside & (known[at] == wanted if len(known) else np.zeros(len(wanted), np.bool_))


def _taken(
    values: npt.NDArray[np.generic], at: Ints, known: npt.NDArray[np.bool_], otherwise: int
) -> npt.NDArray[np.generic]:
    if not len(values):
        return np.full(len(at), otherwise, values.dtype)
    return np.where(known, values[at], np.array(otherwise, values.dtype))
