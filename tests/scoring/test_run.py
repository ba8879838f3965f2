"""From exchanges to verdicts, on one small simulated provider."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import kdguard
from kdguard.detectors import default_suite
from kdguard.errors import BaselineError
from kdguard.scoring.baseline import learn_baseline, split_owners
from kdguard.scoring.facts import gather
from kdguard.scoring.store import load_baseline, save_baseline
from kdguard.verdict import Decision, Findings, GuaranteeState
from tests.rates import assert_rate_at_most
from tests.scoring.worlds import honest_month, month_with_thieves, small_baseline


def lines(findings: Findings) -> str:
    return "\n".join(json.dumps(verdict.to_json()) for verdict in findings.verdicts)


@pytest.fixture(scope="module")
def findings() -> Findings:
    month = month_with_thieves()
    return kdguard.score(month.exchanges, small_baseline(), month.accounts, plots=True)


def test_thieves_come_out_and_honest_accounts_mostly_do_not(findings: Findings) -> None:
    labels = month_with_thieves().account_labels.to_pandas().set_index("account_id")
    found = {
        v.id: v.decision in (Decision.FLAG, Decision.REVIEW) for v in findings.verdicts if v.kind == "account"
    }
    thieves = [found[name] for name in labels.index[labels["is_attack"]]]
    honest = [found[name] for name in labels.index[~labels["is_attack"]]]
    assert np.mean(thieves) >= 0.5
    # At most 1 % may be reviewed by their own p-value; members of a cluster come on top, hence 3 %.
    assert_rate_at_most(int(np.sum(honest)), len(honest), 0.03)


def test_every_account_gets_exactly_one_verdict(findings: Findings) -> None:
    ids = [v.id for v in findings.verdicts if v.kind == "account"]
    assert sorted(ids) == sorted(map(str, month_with_thieves().account_labels["account_id"].to_pylist()))


def test_verdicts_follow_the_rule(findings: Findings) -> None:
    for verdict in findings.verdicts:
        if verdict.kind != "account":
            continue
        if verdict.decision is Decision.ABSTAIN:
            assert verdict.p_value is None
            assert verdict.requests < 10
            assert verdict.abstain_reason
        else:
            assert verdict.p_value is not None
            assert verdict.p_floor is not None
            assert verdict.p_floor <= verdict.p_value <= 1
        if verdict.decision is Decision.FLAG:
            assert verdict.p_value is not None
            assert verdict.p_value <= 0.01
            assert not verdict.permitted
            assert verdict.guarantee_state is GuaranteeState.ACTIVE
        if verdict.decision is Decision.CLEAR:
            assert verdict.p_value is not None
            assert verdict.p_value > 0.01
            assert not verdict.evidence


def test_alarms_say_when() -> None:
    month, alpha = month_with_thieves(), 0.1
    findings = kdguard.score(month.exchanges, small_baseline(), month.accounts, alpha=alpha)
    alarmed = [
        v for v in findings.verdicts if v.kind == "account" and v.p_value is not None and v.p_value <= alpha
    ]
    assert alarmed
    for verdict in alarmed:
        assert verdict.first_alarm is not None
        assert 10 <= verdict.first_alarm.request <= verdict.requests
        assert verdict.first_alarm.time is not None
        assert verdict.first_alarm.time.endswith("Z")


def test_evidence_names_requests_of_the_account_and_no_prompt(findings: Findings) -> None:
    table = pa.Table.from_batches(month_with_thieves().exchanges)
    owner = dict(zip(table["request_id"].to_pylist(), table["account_id"].to_pylist(), strict=True))
    shown = [v for v in findings.verdicts if v.kind == "account" and any(e.exhibits for e in v.evidence)]
    assert shown
    for verdict in shown:
        for item in verdict.evidence:
            assert all(owner[request] == verdict.id for request in item.exhibits)
    said = lines(findings)
    assert not any(
        prompt in said for prompt in table["prompt"].to_pylist()[:300] if prompt and len(prompt) > 30
    )


def test_batches_and_their_order_change_no_byte(findings: Findings) -> None:
    month = month_with_thieves()
    table = pa.Table.from_batches(month.exchanges)
    shuffled = table.take(np.random.default_rng(0).permutation(table.num_rows))
    again = kdguard.score(shuffled.to_batches(max_chunksize=999), small_baseline(), month.accounts)
    assert lines(again) == lines(findings)


@pytest.mark.slow
def test_workers_change_no_byte(findings: Findings) -> None:
    month = month_with_thieves()
    for workers in (2, 3):
        again = kdguard.score(month.exchanges, small_baseline(), month.accounts, workers=workers)
        assert lines(again) == lines(findings)


def test_a_saved_baseline_gives_the_same_verdicts(findings: Findings, tmp_path: Path) -> None:
    saved = save_baseline(small_baseline(), tmp_path / "baseline.safetensors")
    loaded = load_baseline(tmp_path / "baseline.safetensors", default_suite())
    assert loaded.digest == saved.digest
    month = month_with_thieves()
    again = kdguard.score(month.exchanges, loaded, month.accounts)
    strip = loaded.digest
    assert lines(again).replace(strip, "") == lines(findings)


def test_under_a_shipped_baseline_nothing_goes_beyond_a_review() -> None:
    month = month_with_thieves()
    found = kdguard.score(month.exchanges, replace(small_baseline(), shipped=True), month.accounts)
    assert not [v for v in found.verdicts if v.decision is Decision.FLAG]
    assert {v.guarantee_state for v in found.verdicts} == {GuaranteeState.UNCALIBRATED}
    assert [v for v in found.verdicts if v.decision is Decision.REVIEW]


def test_a_permitted_account_is_reported_and_never_flagged() -> None:
    month = month_with_thieves()
    table = month.accounts.to_pandas()
    table["training_permitted"] = True
    found = kdguard.score(month.exchanges, small_baseline(), table)
    accounts = [v for v in found.verdicts if v.kind == "account"]
    assert all(v.permitted for v in accounts)
    assert not [v for v in accounts if v.decision is Decision.FLAG]
    assert [v for v in accounts if v.decision is Decision.REVIEW]


def test_a_log_without_accounts_is_counted_not_scored() -> None:
    month = month_with_thieves()
    batch = month.exchanges[0]
    at = batch.schema.get_field_index("account_id")
    nameless = batch.set_column(at, batch.schema.field(at), pa.nulls(batch.num_rows, pa.string()))
    found = kdguard.score([nameless], small_baseline())
    assert found.verdicts == ()
    assert found.summary["unattributed_exchanges"] == batch.num_rows


def test_owners_are_never_on_both_sides_of_a_baseline() -> None:
    accounts = honest_month()[1]
    facts = gather(
        np.array(accounts["account_id"].to_pylist(), dtype=object),
        np.zeros(len(accounts), np.uint64),
        accounts,
    )
    teaching, calibration = split_owners(facts, seed=5)
    assert not set(facts.owner[teaching]) & set(facts.owner[calibration])
    assert len(set(facts.owner[calibration])) == calibration.sum()


def test_too_small_a_baseline_is_refused() -> None:
    month = month_with_thieves()
    with pytest.raises(BaselineError, match="needs at least 99 calibration owners and 30 teaching accounts"):
        learn_baseline(month.exchanges[:1], default_suite(), accounts=month.accounts)


@pytest.mark.parametrize("damage", ["truncated", "text", "missing", "other version"])
def test_damaged_baselines_say_what_to_do(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "baseline.safetensors"
    if damage != "missing":
        save_baseline(small_baseline(), path)
    if damage == "truncated":
        path.write_bytes(path.read_bytes()[:5000])
    if damage == "text":
        path.write_text("not a baseline")
    if damage == "other version":
        path.write_bytes(path.read_bytes().replace(b'schema_version\\": 2', b'schema_version\\": 9'))
    with pytest.raises(BaselineError, match=r"kdguard"):
        load_baseline(path, default_suite())
