"""The fold of some accounts in one epoch, and folding further rows on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.features.session import Cursor, Rows, rows_from
from kdguard.features.signals import NO_TIME
from kdguard.scan import Detector, State, Trajectories, advance, output_names
from kdguard.scoring.pipeline import Profiles

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
SUMMARY = ("subject", "account_id", "org", "requests", "first_us", "last_us", "flags")


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

    def take(self, keep: npt.NDArray[np.bool_]) -> Standing:
        """Of some of the accounts, by a mask of shape (m,)."""
        rows = self.trajectories
        return Standing(
            **{name: getattr(self, name)[keep] for name in SUMMARY},
            states=tuple(state.take(keep) for state in self.states),
            trajectories=rows.take(keep[np.searchsorted(self.subject, rows.subject)]),
        )

    def without(self, subjects: Codes) -> Standing:
        """Without some accounts."""
        gone = np.isin(self.subject, subjects)
        return self.take(~gone) if gone.any() else self

    def requests_of(self, subjects: Codes) -> Ints:
        """Rows folded of each account, shape (n,); 0 of those that are not here."""
        return values_at(self.requests, *place(self.subject, subjects), 0)

    def over(self, other: Standing) -> Standing:
        """These accounts on top of those of another fold: where both have one, it is taken from here."""
        kept = other.without(self.subject)
        if not len(kept):
            return self
        order = np.argsort(np.concatenate([kept.subject, self.subject]), kind="stable")
        rows = Trajectories.concatenate([kept.trajectories, self.trajectories], 0)
        return Standing(
            **{name: np.concatenate([getattr(kept, name), getattr(self, name)])[order] for name in SUMMARY},
            states=tuple(
                _interleaved(below, above, order)
                for below, above in zip(kept.states, self.states, strict=True)
            ),
            trajectories=rows.take(np.lexsort((rows.checkpoint, rows.subject))),
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
    before = standing.take(np.isin(standing.subject, rows.subject))
    states, reached = advance(before.states, rows, detectors)
    joined = Trajectories.concatenate([before.trajectories, reached], 0)
    after = Standing(
        **_summarised(rows, signals, standing),
        states=tuple(states),
        trajectories=joined.take(np.lexsort((joined.checkpoint, joined.subject))),
    )
    return after.over(standing)


def _continued(rows: Rows, standing: Standing) -> Rows:
    """Ordinals, gaps and flags that go on from the accounts' last rows."""
    starts = np.flatnonzero(np.concatenate(([True], rows.subject[1:] != rows.subject[:-1])))
    lengths = np.diff(np.append(starts, len(rows)))
    at, known = place(standing.subject, rows.subject[starts])
    requests = values_at(standing.requests, at, known, 0)
    gap_us, flags = rows.gap_us.copy(), rows.previous_flags.copy()
    before_us = values_at(standing.last_us, at, known, NO_TIME)
    here_us = rows.time_us[starts]
    timed = known & (before_us != NO_TIME) & (here_us != NO_TIME)
    gap_us[starts[timed]] = here_us[timed] - before_us[timed]
    flags[starts] = values_at(standing.flags, at, known, 0)
    return replace(
        rows, ordinal=rows.ordinal + np.repeat(requests, lengths), gap_us=gap_us, previous_flags=flags
    )


def _summarised(rows: Rows, signals: pa.RecordBatch, standing: Standing) -> dict[str, npt.NDArray[Any]]:
    """What is kept of each account of the rows, its earlier rows included."""
    starts = np.flatnonzero(np.concatenate(([True], rows.subject[1:] != rows.subject[:-1])))
    ends = np.append(starts[1:], len(rows)) - 1
    subject = rows.subject[starts]
    at, known = place(standing.subject, subject)
    org = np.maximum.reduceat(signals.column("org").to_numpy(), starts)
    first_us = rows.time_us[starts]
    names = signals.column("account_id").take(pa.array(starts, pa.int64())).to_pylist()
    return {
        "subject": subject,
        "account_id": np.array(names, dtype=np.object_),
        "org": np.maximum(org, values_at(standing.org, at, known, 0)),
        "requests": rows.ordinal[ends] + 1,
        "first_us": np.where(known, values_at(standing.first_us, at, known, 0), first_us),
        "last_us": rows.time_us[ends],
        "flags": rows.flags[ends].astype(np.int32),
    }


def _interleaved(below: State, above: State, order: Ints) -> State:
    """States of different accounts as one, in the order of their joined accounts."""
    return State(
        np.concatenate([below.subjects, above.subjects])[order],
        {
            name: np.concatenate([below.columns[name], values])[order]
            for name, values in above.columns.items()
        },
    )


def place(known: Codes, wanted: Codes) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Where codes are among ascending ones, and whether they are."""
    at = np.searchsorted(known, wanted)
    inside = at < len(known)
    at = np.where(inside, at, 0)
    return at, inside & (known[at] == wanted if len(known) else np.zeros(len(wanted), np.bool_))


def values_at(
    values: npt.NDArray[Any], at: Ints, known: npt.NDArray[np.bool_], otherwise: int
) -> npt.NDArray[Any]:
    """Values at the places that `place` found, and another where it found none."""
    if not len(values):
        return np.full(len(at), otherwise, values.dtype)
    return np.where(known, values[at], np.array(otherwise, values.dtype))
