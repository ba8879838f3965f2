"""Logs longer than a month: every epoch is paid for, and a month alone costs nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import kdguard
from kdguard.features.signals import NO_TIME, SIGNALS
from kdguard.scoring.spill import ALWAYS, MOST_EPOCHS, Spill
from kdguard.simulate.traffic import simulate
from kdguard.simulate.world import load_world
from kdguard.verdict import Findings, Verdict
from tests.scoring.worlds import month_with_thieves, small_baseline

_DAY_US = 86_400_000_000


def _later(batch: pa.RecordBatch, days: int) -> pa.RecordBatch:
    """The same exchanges again, so many days later and under other ids."""
    time = pc.add(batch.column("time"), pa.scalar(days * _DAY_US, pa.duration("us")))
    request = pa.array([f"{name}+{days}" for name in batch.column("request_id").to_pylist()])
    changed = {"time": time, "request_id": request}
    return pa.RecordBatch.from_arrays(
        [changed.get(name, batch.column(name)) for name in batch.schema.names], schema=batch.schema
    )


def _accounts(findings: Findings) -> dict[str, Verdict]:
    return {verdict.id: verdict for verdict in findings.verdicts if verdict.kind == "account"}


@pytest.fixture(scope="module")
def once() -> dict[str, Verdict]:
    month = month_with_thieves()
    return _accounts(kdguard.score(month.exchanges, small_baseline(), month.accounts))


@pytest.fixture(scope="module")
def twice() -> dict[str, Verdict]:
    month = month_with_thieves()
    both = [*month.exchanges, *(_later(batch, 62) for batch in month.exchanges)]
    return _accounts(kdguard.score(both, small_baseline(), month.accounts))


def test_two_epochs_alike_cost_an_account_half_of_its_alpha(
    once: dict[str, Verdict], twice: dict[str, Verdict]
) -> None:
    assert set(once) == set(twice)
    for name, verdict in once.items():
        if verdict.p_value is None or verdict.p_pooled is None or verdict.p_floor is None:
            continue
        assert twice[name].p_value == pytest.approx(min(1.0, 2 * verdict.p_value))
        assert twice[name].p_pooled == pytest.approx(min(1.0, 2 * verdict.p_pooled))
        assert twice[name].p_floor == pytest.approx(min(1.0, 2 * verdict.p_floor))
        assert twice[name].score == verdict.score
        assert twice[name].requests == 2 * verdict.requests


def test_accounts_of_one_epoch_pay_for_one(once: dict[str, Verdict]) -> None:
    month, other = month_with_thieves(), simulate(replace(load_world("standard"), owners=20), seed=14)
    moved = [_later(batch, 62) for batch in other.exchanges]
    accounts = pa.concat_tables([month.accounts, other.accounts])
    found = _accounts(kdguard.score([*month.exchanges, *moved], small_baseline(), accounts))
    for name, verdict in once.items():
        assert found[name].p_value == verdict.p_value
        assert found[name].first_alarm == verdict.first_alarm


def test_a_log_without_times_is_one_epoch(once: dict[str, Verdict]) -> None:
    month = month_with_thieves()
    at = month.exchanges[0].schema.get_field_index("time")
    field = month.exchanges[0].schema.field(at)
    untimed = [batch.set_column(at, field, pa.nulls(len(batch), field.type)) for batch in month.exchanges]
    found = _accounts(kdguard.score(untimed, small_baseline(), month.accounts))
    assert set(found) == set(once)
    assert {name for name, verdict in found.items() if verdict.p_value is None} == {
        name for name, verdict in once.items() if verdict.p_value is None
    }


def _spilled(days: Sequence[int | None]) -> list[tuple[int, int]]:
    time_us = pa.array([NO_TIME if day is None else day * _DAY_US for day in days], pa.int64())
    empty = {field.name: pa.nulls(len(days), field.type) for field in SIGNALS}
    columns = empty | {"time_us": time_us}
    with Spill() as spill:
        spill.write(pa.RecordBatch.from_pydict(columns, schema=SIGNALS))
        return spill.epochs(31 * _DAY_US)


def test_epochs_begin_with_the_log_and_hold_every_row() -> None:
    assert _spilled([100, 130]) == [ALWAYS]
    assert _spilled([None, None]) == [ALWAYS]
    assert _spilled([100, 131, None]) == [(ALWAYS[0], 131 * _DAY_US), (131 * _DAY_US, ALWAYS[1])]
    assert _spilled([100, 1000]) == [(ALWAYS[0], 999 * _DAY_US), (999 * _DAY_US, ALWAYS[1])]


def test_scattered_times_do_not_make_a_thousand_epochs() -> None:
    assert len(_spilled(list(range(0, 40_000, 31)))) <= MOST_EPOCHS
