"""A share of a tenant's accounts: what is folded of them for good, and the rows that may still be overtaken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.features.lateness import Seen
from kdguard.features.signals import SIGNALS
from kdguard.features.text import hash_identities, mix
from kdguard.scan import Detector
from kdguard.scoring.epochs import EPOCH_DAYS
from kdguard.scoring.spill import MOST_EPOCHS
from kdguard.service.live.encoding import BOUND_US
from kdguard.service.live.standing import Standing, folded, nobody

Codes = npt.NDArray[np.uint64]
_DAY_US = 86_400_000_000
_ORDER: tuple[str, ...] = ("subject", "time_us", "request_id", "choice")
_CANONICAL: list[tuple[str, Literal["ascending", "descending"]]] = [(name, "ascending") for name in _ORDER]
_ID_KEY = np.uint64(0x6B64_6775_6172_6432)


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
class Partition:
    """State of a share of the accounts.

    Attributes:
        folded_to: Number of the last segment in it.
        plan: Epochs it was folded by.
        standings: What is folded for good, by epoch.
        held: Signals that may still be overtaken, duplicates dropped.
        ids: Hashes of the requests folded for good, ascending: a copy that comes later is known by it.
        seen: Latest time of each account.
    """

    folded_to: int = 0
    plan: Plan = Plan()
    standings: Mapping[int, Standing] = field(default_factory=dict)
    held: pa.Table = field(default_factory=SIGNALS.empty_table)
    ids: Codes = field(default_factory=lambda: np.empty(0, np.uint64))
    seen: Seen = field(default_factory=Seen)

    def epochs(self) -> set[int]:
        """Epochs in which it has rows."""
        return set(self.standings) | set(self.plan.of(self.held["time_us"].to_numpy()).tolist())


def taken(
    partition: Partition, signals: pa.Table, folded_to: int, detectors: Sequence[Detector]
) -> Partition:
    """Take in further signals of the partition's accounts, and fold for good what cannot be overtaken any more.

    Args:
        partition: The state before.
        signals: Signals that are not late, in any order.
        folded_to: Number of the last segment they came from.
        detectors: Whose state it is.
    """
    if not signals.num_rows:
        return replace(partition, folded_to=folded_to)
    seen = _seen(partition.seen, signals)
    fresh = signals.filter(pa.array(~_among(partition.ids, ids_of(signals))))
    held = _distinct(pa.concat_tables([partition.held, fresh]))
    latest = seen.of(held["subject"].to_numpy())
    final = held["time_us"].to_numpy() < latest - BOUND_US
    settled = held.filter(pa.array(final))
    return Partition(
        folded_to=folded_to,
        plan=partition.plan,
        standings=_folded_by_epoch(partition, settled, detectors),
        held=held.filter(pa.array(~final)),
        ids=_inserted(partition.ids, ids_of(settled)),
        seen=seen,
    )


def current(partition: Partition, epoch: int, detectors: Sequence[Detector]) -> Standing:
    """The fold of everything so far in one epoch, held rows included."""
    held = partition.held
    rows = held.filter(pa.array(partition.plan.of(held["time_us"].to_numpy()) == epoch))
    return folded(partition.standings.get(epoch) or nobody(detectors), in_order(rows), detectors)


def without(partition: Partition, subject: int) -> Partition:
    """The state without one account; hashes of its requests stay among the others', where they tell nothing."""
    keep = partition.seen.subject != np.uint64(subject)
    other = pc.not_equal(partition.held["subject"], pa.scalar(subject, pa.uint64()))
    return replace(
        partition,
        standings={epoch: standing.without(subject) for epoch, standing in partition.standings.items()},
        held=partition.held.filter(other),
        seen=Seen(partition.seen.subject[keep], partition.seen.latest_us[keep]),
    )


def in_order(signals: pa.Table) -> pa.RecordBatch:
    """Signals in canonical order, as one batch."""
    ordered = signals.take(pc.sort_indices(signals, sort_keys=_CANONICAL)).combine_chunks()
    return ordered.to_batches()[0] if ordered.num_rows else pa.RecordBatch.from_pylist([], schema=SIGNALS)


def ids_of(signals: pa.Table) -> Codes:
    """Hash of (account, request, choice) of each row; two of n requests of an account agree with chance n^2 / 2^65."""
    request = hash_identities(signals["request_id"].combine_chunks())
    choice = signals["choice"].to_numpy().astype(np.uint64)
    return mix(signals["subject"].to_numpy() ^ mix(request ^ mix(choice ^ _ID_KEY)))


def _folded_by_epoch(
    partition: Partition, settled: pa.Table, detectors: Sequence[Detector]
) -> Mapping[int, Standing]:
    standings: dict[int, Any] = dict(partition.standings)
    epoch_of = partition.plan.of(settled["time_us"].to_numpy())
    for epoch in np.unique(epoch_of).tolist():
        rows = in_order(settled.filter(pa.array(epoch_of == epoch)))
        standings[epoch] = folded(standings.get(epoch) or nobody(detectors), rows, detectors)
    return standings


def _distinct(signals: pa.Table) -> pa.Table:
    """Of rows with one (account, request, choice) the earliest, as the batch keeps it."""
    ids = ids_of(signals)
    ties = [signals[name].to_numpy() for name in ("output_tokens", "prompt_bytes", "text", "time_us")]
    order = np.lexsort((*ties, ids))
    first = np.ones(len(order), np.bool_)
    first[1:] = ids[order][1:] != ids[order][:-1]
    return signals.take(np.sort(order[first]))


def _seen(seen: Seen, signals: pa.Table) -> Seen:
    subject, who = np.unique(signals["subject"].to_numpy(), return_inverse=True)
    latest = seen.of(subject)
    np.maximum.at(latest, who, signals["time_us"].to_numpy())
    return seen.put(subject, latest)


def _among(known: Codes, wanted: Codes) -> npt.NDArray[np.bool_]:
    if not len(known):
        return np.zeros(len(wanted), np.bool_)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return known[at] == wanted


def _inserted(known: Codes, more: Codes) -> Codes:
    more = np.sort(more)
    return np.insert(known, np.searchsorted(known, more), more)
