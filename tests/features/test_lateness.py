"""The lateness bound: decided by the order of arrival within an account, and by nothing else."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.exchanges.schema import EXCHANGES
from kdguard.features.lateness import OnTime, Seen, late_rows
from kdguard.features.signals import NO_TIME

BOUND = 10
ARRIVALS = st.lists(
    st.tuples(st.integers(0, 3), st.one_of(st.integers(0, 60), st.just(int(NO_TIME)))), max_size=40
)


def mask(arrivals: list[tuple[int, int]], cuts: list[int] | None = None) -> npt.NDArray[np.bool_]:
    """Late rows, decided batch by batch."""
    subject = np.array([account for account, _ in arrivals], np.uint64)
    time_us = np.array([time for _, time in arrivals], np.int64)
    edges = [0, *sorted(min(cut, len(arrivals)) for cut in cuts or []), len(arrivals)]
    seen, found = Seen(), []
    for start, stop in pairwise(edges):
        late, seen = late_rows(subject[start:stop], time_us[start:stop], BOUND, seen)
        found.append(late)
    return np.concatenate(found)


def test_a_row_is_late_by_the_latest_of_its_own_account() -> None:
    arrivals = [(1, 0), (1, 50), (2, 30), (1, 40), (1, 39), (2, 20), (2, 19), (1, int(NO_TIME)), (1, 61)]
    assert mask(arrivals).tolist() == [False, False, False, False, True, False, True, False, False]


@settings(max_examples=60, deadline=None)
@given(arrivals=ARRIVALS, cuts=st.lists(st.integers(0, 40), max_size=5))
def test_cutting_the_stream_changes_nothing(arrivals: list[tuple[int, int]], cuts: list[int]) -> None:
    assert mask(arrivals, cuts).tolist() == mask(arrivals).tolist()


@settings(max_examples=60, deadline=None)
@given(arrivals=ARRIVALS)
def test_other_accounts_change_nothing(arrivals: list[tuple[int, int]]) -> None:
    late = mask(arrivals)
    for account in {account for account, _ in arrivals}:
        mine = [at for at, (who, _) in enumerate(arrivals) if who == account]
        assert mask([arrivals[at] for at in mine]).tolist() == late[mine].tolist()


@settings(max_examples=60, deadline=None)
@given(arrivals=ARRIVALS)
def test_in_order_of_time_nothing_is_late(arrivals: list[tuple[int, int]]) -> None:
    assert not mask(sorted(arrivals, key=lambda row: row[1])).any()


@settings(max_examples=60, deadline=None)
@given(times=st.lists(st.integers(0, 60), max_size=40))
def test_a_service_that_folds_behind_its_watermark_sees_the_same_rows_in_order(times: list[int]) -> None:
    """It holds rows back until the latest time is more than the bound ahead; what is then older is late."""
    held: list[tuple[int, int]] = []
    folded: list[tuple[int, int]] = []
    latest = -1
    for number, time in enumerate(times):
        latest = max(latest, time)
        if time >= latest - BOUND:
            held.append((time, number))
        ready = sorted(row for row in held if row[0] < latest - BOUND)
        folded += ready
        held = [row for row in held if row not in ready]
    folded += sorted(held)
    kept = ~mask([(1, time) for time in times]) if times else np.empty(0, np.bool_)
    assert folded == sorted((time, number) for number, time in enumerate(times) if kept[number])


def exchanges(rows: list[tuple[str | None, int]]) -> pa.RecordBatch:
    given: dict[str, pa.Array[Any]] = {
        "request_id": pa.array([f"r{at}" for at in range(len(rows))]),
        "account_id": pa.array([account for account, _ in rows], pa.string()),
        "time": pa.array([hour * 3_600_000_000 for _, hour in rows], pa.timestamp("us", "UTC")),
    }
    arrays = [given.get(field.name, pa.nulls(len(rows), field.type)) for field in EXCHANGES]
    return pa.RecordBatch.from_arrays(arrays, schema=EXCHANGES)


def test_late_exchanges_are_left_out_and_counted_each_time_the_log_is_read() -> None:
    batches = [exchanges([("a", 5), ("b", 1), (None, 9)]), exchanges([("a", 1), (None, 1), ("b", 2)])]
    log = OnTime(batches, timedelta(hours=1))
    for _ in range(2):
        kept = [row for batch in log for row in batch.column("account_id").to_pylist()]
        assert kept == ["a", "b", None, None, "b"]
        assert log.late == 1
