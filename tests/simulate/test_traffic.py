from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from kdguard.exchanges.schema import ACCOUNTS, EXCHANGES
from kdguard.simulate import (
    TECHNIQUES,
    Campaign,
    Simulated,
    Tactics,
    World,
    campaign_world,
    load_world,
    simulate,
)
from kdguard.simulate.audit import audit
from kdguard.simulate.setting import NEW_MODEL
from kdguard.simulate.workloads import WORKLOADS
from kdguard.simulate.write import write


@pytest.fixture(scope="module")
def tiny() -> Simulated:
    return simulate(load_world("tiny"), seed=0)


def test_schemas(tiny: Simulated) -> None:
    assert all(batch.schema.equals(EXCHANGES, check_metadata=True) for batch in tiny.exchanges)
    assert tiny.accounts.schema.equals(ACCOUNTS)
    assert tiny.account_labels.column_names[:4] == ["account_id", "owner_id", "is_attack", "campaign_id"]


def test_labels_cover_every_account_and_request(tiny: Simulated) -> None:
    table = tiny.table()
    assert set(table["request_id"].to_pylist()) == set(tiny.request_labels["request_id"].to_pylist())
    assert set(table["account_id"].to_pylist()) <= set(tiny.accounts["account_id"].to_pylist())
    assert tiny.accounts["account_id"].equals(tiny.account_labels["account_id"])
    assert len(set(table["request_id"].to_pylist())) == table.num_rows


def test_times_are_inside_the_world_up_to_a_session(tiny: Simulated) -> None:
    times = tiny.table()["time"].to_pandas()
    world = load_world("tiny")
    assert times.min() >= pd.Timestamp(world.start)
    assert (times < pd.Timestamp(world.start) + pd.Timedelta(days=world.days)).mean() > 0.97


def test_the_owner_is_what_the_record_shows(tiny: Simulated) -> None:
    record = tiny.accounts.to_pandas()
    owner = record["org_id"].fillna(record["payment_hash"]).fillna(record["account_id"])
    assert (owner == tiny.account_labels.to_pandas()["owner_id"]).all()


def test_verified_accounts_tell_the_truth(tiny: Simulated) -> None:
    record = tiny.accounts.to_pandas().merge(tiny.account_labels.to_pandas(), on="account_id")
    checked = record[record["verified"].astype(bool)]
    assert 0.3 < len(checked) / len(record) < 0.7
    assert (checked.groupby("workload")["declared_workload"].nunique() <= 1).all()


def test_every_workload_runs_alone() -> None:
    for name in WORKLOADS:
        world = World("w", 3, days=4, volume_median=5, volume_cap=40, shares=((name, 1.0),))
        simulated = simulate(world, seed=1)
        assert simulated.request_labels.num_rows >= 3
        assert set(simulated.account_labels["workload"].to_pylist()) == {name}


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_a_campaign_world_holds_only_attackers(technique: str) -> None:
    simulated = simulate(campaign_world(technique=technique, accounts=3, requests=40, mix=0.25), seed=2)
    labels = simulated.account_labels.to_pandas()
    assert labels["is_attack"].all()
    assert labels["campaign_id"].nunique() == 1
    assert simulated.request_labels.num_rows == 120
    assert pc.sum(simulated.request_labels["is_attack"]).as_py() == 30


def test_shards_are_disjoint() -> None:
    world = campaign_world(technique="capability_sweep", accounts=8, requests=15, tactics=Tactics(shards=1))
    frame = simulate(world, seed=3).table().to_pandas()
    seen = frame.groupby("account_id")["prompt"].agg(set)
    assert sum(len(texts) for texts in seen) == len(set().union(*seen))


def test_cards_and_addresses_are_shared_on_request_only() -> None:
    apart = simulate(campaign_world(technique="cot_elicit", accounts=30, requests=5), seed=1)
    tactics = Tactics(shared_cards=1, shared_addresses=1)
    shared = simulate(
        campaign_world(technique="cot_elicit", accounts=30, requests=5, tactics=tactics), seed=1
    )
    assert _distinct(apart.accounts, "payment_hash") > 25
    assert _distinct(shared.accounts, "payment_hash") < 10
    assert _distinct(shared.table(), "client_ip") < _distinct(apart.table(), "client_ip")


def _distinct(table: pa.Table, column: str) -> int:
    return len(table[column].drop_null().unique())


def test_warm_up_pivot_and_logprobs() -> None:
    tactics = Tactics(warm_up=0.5, pivot=1.0, logprobs=1.0)
    simulated = simulate(
        campaign_world(technique="cot_elicit", accounts=5, requests=60, tactics=tactics), seed=5
    )
    frame = simulated.table().to_pandas().merge(simulated.request_labels.to_pandas(), on="request_id")
    for _, account in frame.groupby("account_id"):
        assert not account["is_attack"].iloc[:30].any()
    attack = frame[frame["is_attack"]]
    assert attack["logprobs"].astype(bool).all()
    late = attack["time"] > pd.Timestamp(World("w", 0).start) + pd.Timedelta(days=15.5)
    assert (attack.loc[late, "model"] == NEW_MODEL).all()


def test_synchrony_brings_accounts_together() -> None:
    alone = _company(Tactics())
    together = _company(Tactics(synchrony=1.0))
    blurred = _company(Tactics(synchrony=1.0, jitter=1.0))
    assert together > 0.7
    assert together > blurred
    assert together > alone


def _company(tactics: Tactics) -> float:
    """Share of requests that come within five minutes after one of another account."""
    world = campaign_world(technique="rubric_grade", accounts=12, requests=20, tactics=tactics)
    frame = simulate(world, seed=6).table().to_pandas()
    close = frame["time"].diff().dt.total_seconds() < 300
    return float((close & (frame["account_id"] != frame["account_id"].shift())).mean())


def test_a_successor_starts_after_the_ban() -> None:
    world = campaign_world(technique="cot_elicit", accounts=2, requests=30, tactics=Tactics(succession=1.0))
    times = simulate(world, seed=7).table().to_pandas().groupby("account_id")["time"].agg(["min", "max"])
    first, second = times.sort_values("min").to_numpy()
    assert first[1] < second[0]


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, tiny: Simulated) -> None:
    again = simulate(load_world("tiny"), seed=0)
    for folder, one in (("a", tiny), ("b", again)):
        write(one, tmp_path / folder, seed=0, world_digest="x", split="test")
    names = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert "manifest.json" in names
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    other = simulate(load_world("tiny"), seed=1)
    assert not other.exchanges[0].equals(tiny.exchanges[0])


def test_splits_share_no_plain_prompt() -> None:
    world = World("w", 30, days=4, volume_median=10, volume_cap=80, shares=(("product", 1.0),))
    seen = {
        split: set(simulate(world, split=split).table()["prompt"].to_pylist())
        for split in ("calibration", "test")
    }
    assert not seen["calibration"] & seen["test"]


def _medium() -> World:
    campaigns = tuple(Campaign(t, f"{t}-{i}", 5, None, 1.0) for t in TECHNIQUES for i in range(4))
    return World("medium", 400, volume_median=15, volume_cap=150, campaigns=campaigns)


def test_trivial_fields_do_not_separate_the_classes() -> None:
    measured = audit(simulate(_medium(), seed=1))
    assert measured.attack == 200
    assert measured.trivial <= 0.6
    assert measured.trivial_accounts <= 0.6
    assert 0.5 < measured.words <= 1.0


@pytest.mark.skipif("KDGUARD_DATA" not in os.environ, reason="needs KDGUARD_DATA, a folder with real prompts")
def test_real_prompts_are_used_and_split() -> None:
    data = Path(os.environ["KDGUARD_DATA"])
    world = World("w", 20, days=4, volume_median=10, volume_cap=60)
    real = simulate(world, data=data)
    own = simulate(world)
    assert real.request_labels.num_rows == own.request_labels.num_rows
    assert not real.exchanges[0].column("prompt").equals(own.exchanges[0].column("prompt"))
