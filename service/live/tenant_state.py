"""What scoring holds of a tenant: the folds of its accounts, and the rows that may still be overtaken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.features.lateness import Seen
from kdguard.features.signals import SIGNALS
from kdguard.scan import Detector
from kdguard.scoring.epochs import EPOCH_DAYS
from kdguard.scoring.spill import MOST_EPOCHS
from kdguard.service.live.encoding import BOUND_US
from kdguard.service.live.identities import Identities, ids_of
from kdguard.service.live.running import Running, begun, extended, settled_with
from kdguard.service.live.standing import Standing, nobody

Codes = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
HELD: pa.Schema = SIGNALS.append(pa.field("id", pa.uint64()))
"""Rows that may still be overtaken, each with the hash of its request."""
_DAY_US = 86_400_000_000
_GROWTH = 1.25
"""What cannot be overtaken any more is settled when the held rows have grown so far since it last was."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a log is cut into epochs; see `kdguard.scoring.epochs`.

    Attributes:
        first_us: The log's first time; 0 where all of it is one epoch.
        length_us: Length of an epoch; 0 likewise.
    """

    first_us: int = 0
    length_us: int = 0

    def of(self, time_us: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Epoch of each time."""
        return (time_us - self.first_us) // self.length_us if self.length_us else np.zeros_like(time_us)


def planned(spans: Sequence[tuple[int, int]]) -> Plan:
    """The plan of a log.

    Args:
        spans: First and last time of each of its parts; where a part spans several epochs, all of them count as used.
    """
    if not spans:
        return Plan()
    first_us, last_us, length_us = min(a for a, _ in spans), max(b for _, b in spans), EPOCH_DAYS * _DAY_US
    while len({epoch for a, b in spans for epoch in _range(first_us, length_us, a, b)}) > MOST_EPOCHS:
        length_us *= 2
    return Plan() if last_us - first_us < length_us else Plan(first_us, length_us)


def _range(first_us: int, length_us: int, start_us: int, end_us: int) -> range:
    return range((start_us - first_us) // length_us, (end_us - first_us) // length_us + 1)


@dataclass(frozen=True, slots=True)
class TenantState:
    """The state of a tenant.

    Attributes:
        folded_to: Number of the last segment in it.
        plan: Epochs it was folded by.
        running: Folds, by epoch.
        held: Rows that are not settled, duplicates dropped, in the schema `HELD`.
        known: Hashes of all requests: a copy that comes later is known by it.
        seen: Latest time of each account.
        left: Rows that were held after settling last.
    """

    folded_to: int = 0
    plan: Plan = Plan()
    running: Mapping[int, Running] = field(default_factory=dict)
    held: pa.Table = field(default_factory=HELD.empty_table)
    known: Identities = field(default_factory=Identities)
    seen: Seen = field(default_factory=Seen)
    left: int = 0

    def now(self) -> dict[int, Standing]:
        """The fold of everything so far, of each epoch in which there is anything."""
        return {epoch: running.now for epoch, running in self.running.items() if len(running.now)}


def resumed(
    state: TenantState, settled: Mapping[int, Standing], detectors: Sequence[Detector]
) -> TenantState:
    """A state whose folds are made anew from what is settled, by epoch, and the rows it holds."""
    held = state.held
    before = replace(state, running={epoch: begun(standing) for epoch, standing in settled.items()})
    return replace(before, running=_extended(before, held, held.slice(0, 0), held, detectors))


def taken(
    state: TenantState, signals: pa.Table, folded_to: int, detectors: Sequence[Detector]
) -> TenantState:
    """Take in further signals.

    Args:
        state: The state before.
        signals: Signals that are not late, in any order.
        folded_to: Number of the last segment they came from.
        detectors: Whose state it is.
    """
    if not signals.num_rows:
        return replace(state, folded_to=folded_to)
    new, gone = _changes(state, signals.append_column(HELD.field("id"), pa.array(ids_of(signals))))
    held = state.held
    if gone.num_rows:
        held = held.filter(pa.array(~np.isin(held["id"].to_numpy(), gone["id"].to_numpy())))
    held = pa.concat_tables([held, new])
    after = TenantState(
        folded_to=folded_to,
        plan=state.plan,
        running=_extended(state, new, gone, held, detectors),
        held=held,
        known=state.known.plus(np.setdiff1d(new["id"].to_numpy(), gone["id"].to_numpy(), assume_unique=True)),
        seen=_seen(state.seen, signals),
        left=state.left,
    )
    return _settled(after, detectors) if held.num_rows > _GROWTH * state.left else after


def without(state: TenantState, subject: int) -> TenantState:
    """The state without one account; hashes of its requests stay among the others', where they tell nothing."""
    mine = np.array([subject], np.uint64)
    keep = state.seen.subject != mine[0]
    return replace(
        state,
        running={epoch: running.without(mine) for epoch, running in state.running.items()},
        held=state.held.filter(pa.array(state.held["subject"].to_numpy() != mine[0])),
        seen=Seen(state.seen.subject[keep], state.seen.latest_us[keep]),
    )


def _changes(state: TenantState, signals: pa.Table) -> tuple[pa.Table, pa.Table]:
    """Rows that count from now on, and held ones that count no more: of copies of one request the earliest does."""
    rows = signals.take(_earliest(signals))
    again = state.known.among(rows["id"].to_numpy())
    new, copies, held = rows.filter(pa.array(~again)), rows.filter(pa.array(again)), state.held
    if not again.any():
        return new, held.slice(0, 0)
    known = held.filter(pa.array(np.isin(held["id"].to_numpy(), copies["id"].to_numpy())))
    copies = copies.filter(pa.array(np.isin(copies["id"].to_numpy(), known["id"].to_numpy())))  # not settled
    both = pa.concat_tables([known, copies])
    earliest = _earliest(both)
    better = both.take(earliest[earliest >= known.num_rows])
    worse = known.filter(pa.array(np.isin(known["id"].to_numpy(), better["id"].to_numpy())))
    return pa.concat_tables([new, better]), worse


def _extended(
    state: TenantState, new: pa.Table, gone: pa.Table, held: pa.Table, detectors: Sequence[Detector]
) -> dict[int, Running]:
    """The folds of every epoch with the rows that came and without those that went."""
    running, plan = dict(state.running), state.plan
    here, there = _epochs(plan, new), _epochs(plan, gone)
    for epoch in np.unique(np.concatenate([here, there])).tolist():
        running[epoch] = extended(
            running.get(epoch) or begun(nobody(detectors)),
            new.filter(pa.array(here == epoch)),
            gone.filter(pa.array(there == epoch)),
            partial(_of, held, plan, epoch),
            detectors,
        )
    return running


def _of(held: pa.Table, plan: Plan, epoch: int, subject: Codes) -> pa.Table:
    """Rows of some accounts in one epoch."""
    mine = held.filter(pa.array(np.isin(held["subject"].to_numpy(), subject)))
    return mine.filter(pa.array(_epochs(plan, mine) == epoch))


def _settled(state: TenantState, detectors: Sequence[Detector]) -> TenantState:
    """Settle what cannot be overtaken any more."""
    held = state.held
    latest_us = state.seen.of(held["subject"].to_numpy())
    final = held["time_us"].to_numpy() < latest_us - BOUND_US
    rows = held.filter(pa.array(final))
    running, epoch_of = dict(state.running), _epochs(state.plan, rows)
    for epoch in np.unique(epoch_of).tolist():
        running[epoch] = settled_with(running[epoch], rows.filter(pa.array(epoch_of == epoch)), detectors)
    held = held.filter(pa.array(~final)).combine_chunks()
    return replace(state, running=running, held=held, left=held.num_rows)


def _epochs(plan: Plan, rows: pa.Table) -> Ints:
    return plan.of(rows["time_us"].to_numpy())


def _earliest(signals: pa.Table) -> Ints:
    """Of rows with one id the place of the earliest, as the batch keeps it; places ascending."""
    ids = signals["id"].to_numpy()
    ties = [signals[name].to_numpy() for name in ("output_tokens", "prompt_bytes", "text", "time_us")]
    order = np.lexsort((*ties, ids))
    first = np.ones(len(order), np.bool_)
    first[1:] = ids[order][1:] != ids[order][:-1]
    return np.sort(order[first])


def _seen(seen: Seen, signals: pa.Table) -> Seen:
    subject, who = np.unique(signals["subject"].to_numpy(), return_inverse=True)
    latest = seen.of(subject)
    np.maximum.at(latest, who, signals["time_us"].to_numpy())
    return seen.put(subject, latest)
