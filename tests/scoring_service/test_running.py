"""Folds kept up as rows come are the folds made at once, whatever the order, the copies and the cuts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from kdguard.features.lateness import Seen, late_rows
from kdguard.features.signals import SIGNALS
from kdguard.service.live import kept, running
from kdguard.service.live.baselines import shipped_baseline
from kdguard.service.live.encoding import BOUND_US
from kdguard.service.live.identities import Identities, ids_of
from kdguard.service.live.running import in_order
from kdguard.service.live.standing import Standing, folded, nobody
from kdguard.service.live.tenant_state import Plan, TenantState, taken, without

Ints = npt.NDArray[np.int64]
DETECTORS = shipped_baseline().suite.detectors
BEGIN_US = int(datetime(2026, 10, 1, tzinfo=UTC).timestamp()) * 1_000_000
HOUR_US = timedelta(hours=1) // timedelta(microseconds=1)
MINUTE_US = HOUR_US // 60


def arriving(seed: int, rows: int, accounts: int, span_us: int, late_us: int, copies: int) -> pa.Table:
    """Signals as they might arrive: in a little disorder, some at one time, some twice, none too late."""
    draw = np.random.default_rng(seed)
    time_us = np.sort(draw.integers(0, span_us, rows)) // 1_000_000 * 1_000_000 + BEGIN_US
    subject = draw.integers(1, accounts + 1, rows).astype(np.uint64)
    again = draw.choice(rows, copies, replace=False)
    place = np.concatenate([np.arange(rows), again])
    shift_us = np.concatenate([np.zeros(rows, np.int64), draw.integers(-MINUTE_US, MINUTE_US, len(again))])
    moment = time_us[place] + draw.exponential(late_us, len(place)) + np.abs(shift_us)
    order = np.argsort(moment, kind="stable")
    place, shift_us = place[order], shift_us[order]
    table = signals(draw, subject[place], time_us[place] + shift_us, [f"r{at % 97}-{at}" for at in place])
    late, _ = late_rows(table["subject"].to_numpy(), table["time_us"].to_numpy(), BOUND_US, Seen())
    return table.filter(pa.array(~late))


def signals(
    draw: np.random.Generator, subject: npt.NDArray[np.uint64], time_us: Ints, request_ids: list[str]
) -> pa.Table:
    size = len(subject)
    columns: dict[str, Any] = {
        "subject": subject,
        "account_id": [f"a{code}" for code in subject],
        "time_us": time_us,
        "request_id": request_ids,
        "choice": np.zeros(size, np.int32),
        "technique": draw.integers(0, 9, size).astype(np.int8),
        "has_text": np.ones(size, np.bool_),
        "signs": [draw.bytes(16) for _ in range(size)],
        "half": draw.integers(0, 2, size).astype(np.bool_),
    }
    for field in SIGNALS:
        if field.name not in columns:
            columns[field.name] = draw.integers(0, 9, size)
    return pa.table({field.name: pa.array(columns[field.name], field.type) for field in SIGNALS})


def at_once(table: pa.Table, plan: Plan) -> dict[int, Standing]:
    """All rows folded in order, of copies the earliest."""
    ids = ids_of(table)
    ties = [table[name].to_numpy() for name in ("output_tokens", "prompt_bytes", "text", "time_us")]
    order = np.lexsort((*ties, ids))
    first = np.concatenate(([True], ids[order][1:] != ids[order][:-1]))
    rows = table.take(order[first])
    epoch_of = plan.of(rows["time_us"].to_numpy())
    return {
        epoch: folded(nobody(DETECTORS), in_order(rows.filter(pa.array(epoch_of == epoch))), DETECTORS)
        for epoch in np.unique(epoch_of).tolist()
    }


def assert_same(mine: dict[int, Standing], theirs: dict[int, Standing]) -> None:
    assert mine.keys() == theirs.keys()
    for epoch, standing in mine.items():
        other = theirs[epoch]
        for name in ("subject", "account_id", "org", "requests", "first_us", "last_us", "flags"):
            np.testing.assert_array_equal(getattr(standing, name), getattr(other, name), name)
        for name in ("subject", "checkpoint", "time_us", "scores"):
            np.testing.assert_array_equal(
                getattr(standing.trajectories, name), getattr(other.trajectories, name), name
            )
        for state, expected in zip(standing.states, other.states, strict=True):
            np.testing.assert_array_equal(state.subjects, expected.subjects)
            for name, values in state.columns.items():
                np.testing.assert_array_equal(values, expected.columns[name], name)


@pytest.mark.parametrize("seed", range(6))
def test_any_order_and_cut_give_the_folds_made_at_once(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if seed < 4:  # earlier folds all over, so that one that does not hold would be met
        monkeypatch.setattr(running, "_NEAREST_ROWS", 1)
        monkeypatch.setattr(running, "_FACTOR", 1)
    draw = np.random.default_rng(seed)
    late_us = [0, 1_000_000, MINUTE_US, 10 * MINUTE_US, HOUR_US // 2, HOUR_US][seed]
    accounts = int(draw.integers(1, 8))
    table = arriving(seed, rows=1_200, accounts=accounts, span_us=6 * HOUR_US, late_us=late_us, copies=60)
    plan = Plan(BEGIN_US, 2 * HOUR_US) if seed % 2 else Plan()
    state, at, earlier = TenantState(plan=plan), 0, 0
    while at < table.num_rows:
        size = int(draw.integers(1, draw.choice([4, 40, 150])))
        state = taken(state, table.slice(at, size), at, DETECTORS)
        at += size
        earlier += sum(len(one.earlier) for one in state.running.values())
        if draw.random() < 0.1:  # stopped and started
            kept.save(state, tmp_path, DETECTORS)
            resumed = kept.load(tmp_path, DETECTORS)
            assert resumed is not None
            state = resumed
        if draw.random() < 0.1:
            assert_same(state.now(), at_once(table.slice(0, at), plan))
    assert_same(state.now(), at_once(table, plan))
    assert sum(int(one.settled.requests.sum()) for one in state.running.values()) > 500
    assert earlier > 0


def test_an_account_that_is_deleted_is_in_no_fold() -> None:
    table = arriving(9, rows=1_500, accounts=4, span_us=5 * HOUR_US, late_us=MINUTE_US, copies=50)
    state, size = TenantState(), 100
    for at in range(0, 700, size):
        state = taken(state, table.slice(at, size), at, DETECTORS)
    state = without(state, 3)
    mine = [fold for one in state.running.values() for fold in (one.settled, one.now, *one.earlier)]
    assert len(mine) > 2
    assert all(3 not in fold.subject for fold in mine)
    others = table.filter(pa.array(table["subject"].to_numpy() != 3))
    for at in range(700, table.num_rows, size):
        rows = table.slice(at, size)
        state = taken(state, rows.filter(pa.array(rows["subject"].to_numpy() != 3)), at, DETECTORS)
    assert_same(state.now(), at_once(others, Plan()))


def test_rows_in_a_little_disorder_are_folded_again_a_little_way_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = 0

    def counted(standing: Standing, batch: pa.RecordBatch, detectors: object) -> Standing:
        nonlocal rows
        rows += batch.num_rows
        return folded(standing, batch, DETECTORS)

    monkeypatch.setattr("kdguard.service.live.running.folded", counted)
    table = arriving(3, rows=4_000, accounts=2, span_us=HOUR_US, late_us=MINUTE_US // 12, copies=0)
    state, size = TenantState(), 50
    for at in range(0, table.num_rows, size):
        state = taken(state, table.slice(at, size), at, DETECTORS)
    looks = table.num_rows / size
    assert rows / looks < 4 * size, f"{rows / looks:.0f} rows folded a look, of {size} that came"


def test_a_request_is_known_once_it_was_taken_in() -> None:
    draw = np.random.default_rng(0)
    codes = np.unique(draw.integers(0, 1 << 62, 5_000).astype(np.uint64))
    mine, strange = codes[::2], codes[1::2]
    known, at = Identities(), 0
    while at < len(mine):
        size = int(draw.integers(1, 40))
        known, at = known.plus(mine[at : at + size]), at + size
    assert known.among(mine).all()
    assert not known.among(strange).any()
    assert len(known.runs) < 14
    np.testing.assert_array_equal(known.ascending(), mine)
