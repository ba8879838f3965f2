"""Exchanges in, one profile an account out: encode, spill, sort, fold. The same bytes on any number of workers."""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from kdguard.features.session import Cursor, Rows, rows_from
from kdguard.features.signals import NO_TIME, Encoder
from kdguard.scan import Detector, Trajectories, follow, output_names
from kdguard.scoring.sorting import Slice, read_in_order, slices
from kdguard.scoring.spill import ALWAYS, Spill

_IN_FLIGHT_PER_WORKER = 4


@dataclass(slots=True)
class Tally:
    """What was seen while encoding.

    Attributes:
        exchanges: Exchanges read.
        unattributed: Exchanges without an account; they cannot be scored.
    """

    exchanges: int = 0
    unattributed: int = 0

    def count(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Pass batches through, counting."""
        for batch in batches:
            self.exchanges += batch.num_rows
            self.unattributed += batch.column("account_id").null_count
            yield batch


@dataclass(frozen=True, slots=True)
class Profiles:
    """What the fold knows of m accounts, ascending by subject.

    Attributes:
        subject: Hash of the account, shape (m,).
        account_id: The ids themselves, shape (m,), object.
        org: Hash of the organisation that the log names, 0 = none.
        requests: Exchanges, duplicates dropped.
        first_us, last_us: Microseconds since 1970; `NO_TIME` = the log has no time.
        trajectories: Scores at checkpoints, ordered by subject and checkpoint.
    """

    subject: npt.NDArray[np.uint64]
    account_id: npt.NDArray[np.object_]
    org: npt.NDArray[np.uint64]
    requests: npt.NDArray[np.int64]
    first_us: npt.NDArray[np.int64]
    last_us: npt.NDArray[np.int64]
    trajectories: Trajectories

    def __len__(self) -> int:
        return len(self.subject)


def encode_into(spill: Spill, batches: Iterable[pa.RecordBatch], encoder: Encoder, workers: int = 1) -> None:
    """Encode exchanges and write their signals to the spill, in any order."""
    if workers <= 1:
        for batch in batches:
            spill.write(encoder.encode(batch))
        spill.seal()
        pa.default_memory_pool().release_unused()  # what reading held, before sorting needs its own
        return
    with ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_remember, initargs=(encoder,)
    ) as pool:
        waiting: deque[Future[pa.RecordBatch]] = deque()
        for batch in batches:
            waiting.append(pool.submit(_encode, batch))
            if len(waiting) >= _IN_FLIGHT_PER_WORKER * workers:
                spill.write(waiting.popleft().result())
        while waiting:
            spill.write(waiting.popleft().result())
    spill.seal()


def fold(
    spill: Spill, detectors: Sequence[Detector], workers: int = 1, window: tuple[int, int] = ALWAYS
) -> Profiles:
    """Fold what is in the spill into the profiles of all accounts; see `fold_slices`."""
    return join_profiles(list(fold_slices(spill, detectors, workers, window)), len(output_names(detectors)))


def fold_slices(
    spill: Spill, detectors: Sequence[Detector], workers: int = 1, window: tuple[int, int] = ALWAYS
) -> Iterator[Profiles]:
    """Fold what is in the spill, a slice of the accounts at a time.

    Args:
        spill: Sealed signals.
        detectors: Detectors whose outputs become the score columns.
        workers: Processes; each folds whole slices.
        window: Half-open interval of times to fold, microseconds since 1970.

    Yields:
        Profiles of a slice's accounts, slices ascending; where a slice is cut changes no byte.
    """
    spill.seal()
    memory_mb = spill.sort_memory_mb // workers
    spans = slices(spill.folder, memory_mb, fewest=1 if workers <= 1 else 2 * workers)
    fold_one = partial(_fold_slice, spill.folder, memory_mb, window, tuple(detectors))
    if workers <= 1:
        yield from map(fold_one, spans)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        waiting: deque[Future[Profiles]] = deque()
        for span in spans:
            waiting.append(pool.submit(fold_one, span))
            if len(waiting) > workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def in_order(spill: Spill) -> Iterator[Rows]:
    """Read a spill's rows in canonical order."""
    spill.seal()
    cursor = Cursor()
    for span in slices(spill.folder, spill.sort_memory_mb):
        for batch in read_in_order(spill.folder, span, spill.sort_memory_mb):
            rows, cursor = rows_from(batch, cursor)
            yield rows


_encoder: Encoder | None = None


def _remember(encoder: Encoder) -> None:
    global _encoder
    _encoder = encoder


def _encode(batch: pa.RecordBatch) -> pa.RecordBatch:
    if _encoder is None:
        raise RuntimeError("the worker was not given an encoder")
    return _encoder.encode(batch)


def _fold_slice(
    folder: Path, sort_memory_mb: int, window: tuple[int, int], detectors: tuple[Detector, ...], span: Slice
) -> Profiles:
    seen: list[tuple[npt.NDArray[Any], ...]] = []

    def rows() -> Iterator[Rows]:
        cursor = Cursor()
        for batch in read_in_order(folder, span, sort_memory_mb, window):
            part, cursor = rows_from(batch, cursor)
            seen.append(_summarise(batch))
            yield part

    trajectories = Trajectories.concatenate(list(follow(rows(), detectors)), len(output_names(detectors)))
    return _merge_accounts(seen, trajectories)


def _summarise(batch: pa.RecordBatch) -> tuple[npt.NDArray[Any], ...]:
    """Count the accounts of one sorted batch: subject, id, org, requests, first and last time."""
    subject = batch.column("subject").to_numpy()
    starts = np.flatnonzero(np.concatenate(([True], subject[1:] != subject[:-1])))
    time_us = batch.column("time_us").to_numpy()
    return (
        subject[starts],
        np.array(batch.column("account_id").take(pa.array(starts, pa.int64())).to_pylist(), dtype=np.object_),
        np.maximum.reduceat(batch.column("org").to_numpy(), starts),
        np.diff(np.append(starts, len(subject))),
        np.minimum.reduceat(np.where(time_us == NO_TIME, np.iinfo(np.int64).max, time_us), starts),
        np.maximum.reduceat(time_us, starts),
    )


def _merge_accounts(seen: list[tuple[npt.NDArray[Any], ...]], trajectories: Trajectories) -> Profiles:
    """Join batch summaries; an account cut by a batch boundary appears in adjacent ones."""
    if not seen:
        none = np.empty(0, np.int64)
        codes = np.empty(0, np.uint64)
        return Profiles(codes, np.empty(0, np.object_), codes, none, none, none, trajectories)
    subject, account_id, org, requests, first_us, last_us = (
        np.concatenate([part[at] for part in seen]) for at in range(6)
    )
    starts = np.flatnonzero(np.concatenate(([True], subject[1:] != subject[:-1])))
    return Profiles(
        subject[starts],
        account_id[starts],
        np.maximum.reduceat(org, starts),
        np.add.reduceat(requests, starts),
        np.where(
            np.maximum.reduceat(last_us, starts) == NO_TIME, NO_TIME, np.minimum.reduceat(first_us, starts)
        ),
        np.maximum.reduceat(last_us, starts),
        trajectories,
    )


def join_profiles(parts: Sequence[Profiles], width: int) -> Profiles:
    """Put profiles of disjoint accounts into one order.

    Args:
        parts: Profiles.
        width: Score columns.
    """
    if not parts:
        return _merge_accounts([], Trajectories.concatenate([], width))
    trajectories = Trajectories.concatenate([part.trajectories for part in parts], width)
    order = np.lexsort((trajectories.checkpoint, trajectories.subject))
    subject = np.concatenate([part.subject for part in parts])
    at = np.argsort(subject)

    def column(name: str) -> npt.NDArray[Any]:
        return np.concatenate([getattr(part, name) for part in parts])[at]

    return Profiles(
        subject[at],
        column("account_id"),
        column("org"),
        column("requests"),
        column("first_us"),
        column("last_us"),
        trajectories.take(order),
    )
