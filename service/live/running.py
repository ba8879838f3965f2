"""The fold of everything so far, kept up as rows come; what came out of order is folded again from an earlier fold.

Each account's rows have one order. A fold of its first c rows holds as long as no row comes before the c-th, so a row
that overtakes others needs only those folded again, on top of the latest fold that ends before it. Some such folds are
kept, each about four times as many rows back as the one before it: an account whose rows come in a little disorder is
folded a little way back at each look, and never from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.scan import Detector
from kdguard.service.live.standing import Standing, folded, nobody, place, values_at

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
HeldOf = Callable[[Codes], pa.Table]
_ORDER: tuple[str, ...] = ("subject", "time_us", "request_id", "choice")
_CANONICAL: list[tuple[str, Literal["ascending", "descending"]]] = [(name, "ascending") for name in _ORDER]
_NEAREST_ROWS = 32
_FACTOR = 4
_MOST_EARLIER = 9


@dataclass(frozen=True, slots=True)
class Running:
    """Folds of some accounts in one epoch.

    Attributes:
        settled: Of the rows that cannot be overtaken any more.
        now: Of all rows.
        earlier: Of accounts that have many rows besides the settled ones, some rows ago, the latest first.
    """

    settled: Standing
    now: Standing
    earlier: tuple[Standing, ...] = ()

    def without(self, subjects: Codes) -> Running:
        """Without some accounts."""
        earlier = tuple(fold.without(subjects) for fold in self.earlier)
        return Running(self.settled.without(subjects), self.now.without(subjects), earlier)


def begun(settled: Standing) -> Running:
    """Nothing but what is settled."""
    return Running(settled, settled)


def extended(
    running: Running, new: pa.Table, gone: pa.Table, held_of: HeldOf, detectors: Sequence[Detector]
) -> Running:
    """Take in rows.

    Args:
        running: The folds before.
        new: Rows that came, in any order; none of them comes before a settled row of its account.
        gone: Rows that were taken in before and count no more; none of them is settled.
        held_of: Gives all rows of some accounts besides the settled ones, `new` among them and `gone` not.
        detectors: Whose folds these are.
    """
    rows = in_order(new)
    subject, first_us = _firsts(new, gone)
    at, known = place(running.now.subject, subject)
    overtaken = known & (first_us <= values_at(running.now.last_us, at, known, 0))
    if overtaken.any():
        back, others = subject[overtaken], new.filter(pa.array(~np.isin(new["subject"], subject[overtaken])))
        running, again = _rewound(running, back, first_us[overtaken], in_order(held_of(back)), detectors)
        rows = in_order(pa.concat_tables([others, pa.Table.from_batches([again])]))
    now = folded(running.now, rows, detectors)
    return Running(running.settled, now, _marked(running, now, subject, detectors))


def settled_with(running: Running, final: pa.Table, detectors: Sequence[Detector]) -> Running:
    """Settle the first of the rows that are not settled yet.

    Args:
        running: The folds before.
        final: Rows that cannot be overtaken any more.
        detectors: Whose folds these are.
    """
    rows = in_order(final)
    subject, count = np.unique(rows.column("subject").to_numpy(), return_counts=True)
    reach = running.settled.requests_of(subject) + count
    start, rest = _resumed(running, rows, subject, reach)
    settled = folded(start.over(running.settled), rest, detectors)
    earlier = tuple(fold.take(fold.requests > settled.requests_of(fold.subject)) for fold in running.earlier)
    return Running(settled, running.now, earlier)


def in_order(signals: pa.Table) -> pa.RecordBatch:
    """Signals in canonical order, as one batch."""
    ordered = signals.take(pc.sort_indices(signals, sort_keys=_CANONICAL)).combine_chunks()
    return ordered.to_batches()[0] if ordered.num_rows else pa.RecordBatch.from_pylist([], signals.schema)


def _firsts(*tables: pa.Table) -> tuple[Codes, Ints]:
    """Accounts of some rows, and the first time of each."""
    subject = np.concatenate([table["subject"].to_numpy() for table in tables])
    accounts, who = np.unique(subject, return_inverse=True)
    first_us = np.full(len(accounts), np.iinfo(np.int64).max)
    np.minimum.at(first_us, who, np.concatenate([table["time_us"].to_numpy() for table in tables]))
    return accounts, first_us


def _rewound(
    running: Running, subject: Codes, changed_us: Ints, rows: pa.RecordBatch, detectors: Sequence[Detector]
) -> tuple[Running, pa.RecordBatch]:
    """Go back, for some accounts, to folds that hold although their rows changed.

    Args:
        running: The folds before.
        subject: The accounts, ascending.
        changed_us: Time of the first row of each that came or went.
        rows: Their rows besides the settled ones as they are now, in order.
        detectors: Whose folds these are.

    Returns:
        The folds that hold, and the rows to be folded on top of `now` among them.
    """
    who = np.searchsorted(subject, rows.column("subject").to_numpy())
    before = rows.column("time_us").to_numpy() < changed_us[who]
    reach = running.settled.requests_of(subject) + np.bincount(who[before], minlength=len(subject))
    earlier = tuple(_up_to(fold, subject, reach) for fold in running.earlier)
    held = Running(running.settled, running.now.without(subject), earlier)
    start, rest = _resumed(held, rows, subject, reach)
    far = subject[reach - start.requests_of(subject) >= _NEAREST_ROWS]
    if len(far):
        of = rest.column("subject").to_numpy()
        ahead = np.isin(of, far) & (
            rest.column("time_us").to_numpy() < changed_us[np.searchsorted(subject, of)]
        )
        start, rest = folded(start, rest.filter(pa.array(ahead)), detectors), rest.filter(pa.array(~ahead))
    return Running(held.settled, start.over(held.now), earlier), rest


def _resumed(
    running: Running, rows: pa.RecordBatch, subject: Codes, reach: Ints
) -> tuple[Standing, pa.RecordBatch]:
    """The latest folds of some accounts that go no further than so many rows, and the rows after them."""
    start = running.settled.take(np.isin(running.settled.subject, subject))
    for fold in reversed(running.earlier):
        mine = fold.take(np.isin(fold.subject, subject))
        start = _up_to(mine, subject, reach).over(start)
    of = rows.column("subject").to_numpy()
    place_in_account = np.arange(len(of)) - np.searchsorted(of, of)
    done = start.requests_of(of) - running.settled.requests_of(of)
    return start, rows.filter(pa.array(place_in_account >= done))


def _up_to(fold: Standing, subject: Codes, reach: Ints) -> Standing:
    """A fold without those of some accounts that go further than so many rows."""
    at, known = place(subject, fold.subject)
    further = known & (fold.requests > values_at(reach, at, known, 0))
    return fold.take(~further) if further.any() else fold


def _marked(
    running: Running, now: Standing, subject: Codes, detectors: Sequence[Detector]
) -> tuple[Standing, ...]:
    """The earlier folds, after the accounts in `subject` went on from `running` to `now`.

    An account that has come far since an earlier fold of it gets its latest fold in place of that, which moves back if
    it is far from the one before it too. The latest is the one before the rows of this look, since it held until now.
    """
    earlier = list(running.earlier)
    moving = running.now.take(np.isin(running.now.subject, subject))
    for level in range(_MOST_EARLIER):
        here = earlier[level] if level < len(earlier) else nobody(detectors)
        kept = np.maximum(here.requests_of(moving.subject), running.settled.requests_of(moving.subject))
        far = now.requests_of(moving.subject) - kept >= _NEAREST_ROWS * _FACTOR**level
        far &= moving.requests > kept
        if not far.any():
            break
        moving = moving.take(far)
        displaced = here.take(np.isin(here.subject, moving.subject))
        earlier[level : level + 1] = [moving.over(here)]
        moving = displaced.over(moving)
    return tuple(earlier)
