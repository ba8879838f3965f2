"""Groups from exchanges to verdicts, on one small simulated provider."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import kdguard
from kdguard.detectors import default_suite
from kdguard.evidence import Guarantee
from kdguard.report.plots import MAX_NODES
from kdguard.scoring.baseline import Baseline
from kdguard.scoring.store import load_baseline, save_baseline
from kdguard.simulate.campaign import Tactics
from kdguard.simulate.traffic import Simulated, campaign_world, simulate
from kdguard.simulate.world import load_world
from kdguard.verdict import Decision, Findings, GuaranteeState
from tests.scoring.worlds import small_baseline


@pytest.fixture(scope="module")
def honest() -> Simulated:
    return simulate(replace(load_world("standard"), owners=60), seed=71, split="test")


@pytest.fixture(scope="module")
def thieves() -> Simulated:
    tactics = Tactics(shared_cards=1.0)
    world = campaign_world(technique="rubric_grade", accounts=40, requests=20, tactics=tactics, language="en")
    return simulate(world, seed=72, split="test")


@pytest.fixture(scope="module")
def findings(honest: Simulated, thieves: Simulated) -> Findings:
    accounts = pa.concat_tables([honest.accounts, thieves.accounts])
    return kdguard.score(honest.exchanges + thieves.exchanges, small_baseline(), accounts, plots=True)


def test_a_campaign_of_light_accounts_is_found_whole_and_pure(findings: Findings, thieves: Simulated) -> None:
    campaign = set(thieves.accounts["account_id"].to_pylist())
    clusters = [v for v in findings.verdicts if v.kind == "cluster"]
    assert clusters
    best = max(clusters, key=lambda v: len(campaign & set(v.members)))
    assert len(campaign & set(best.members)) >= len(campaign) / 2
    assert len(campaign & set(best.members)) >= 0.95 * len(best.members)


def test_cluster_verdicts_say_why_in_words_and_ids(findings: Findings, thieves: Simulated) -> None:
    cluster = next(v for v in findings.verdicts if v.kind == "cluster")
    assert cluster.p_value is not None
    assert cluster.p_floor is not None
    assert cluster.p_floor <= cluster.p_value <= 1
    assert {"AML.T0008.005", "AML.T0021"} <= set(cluster.techniques)
    rank = cluster.evidence[0]
    assert "payment instrument" in rank.summary
    assert f"ranked among {cluster.calibration_size} groups" in rank.summary
    assert set(rank.exhibits) <= set(thieves.request_labels["request_id"].to_pylist())
    assert rank.exhibits
    assert all(item.contribution > 0 for item in cluster.evidence[1:])
    cards = {str(card) for card in thieves.accounts["payment_hash"].drop_null().to_pylist()}
    assert not any(card in item.summary for card in cards for item in cluster.evidence)


def test_few_honest_groups_lead_to_a_review_at_most(findings: Findings) -> None:
    for verdict in findings.verdicts:
        if verdict.kind == "cluster" and verdict.calibration_size < 99:
            assert verdict.decision is Decision.REVIEW
            assert verdict.evidence[0].guarantee is Guarantee.DESCRIPTIVE


def with_honest_groups(count: int) -> Baseline:
    """The small baseline as if so many groups had formed among its honest owners, and shown little."""
    baseline = small_baseline()
    assert baseline.groups is not None
    rng = np.random.default_rng(count)
    honest = replace(
        baseline.groups,
        score=rng.exponential(0.5, count),
        size=np.full(count, 4),
        across=np.ones(count, np.bool_),
        log_owners=np.full(count, 100),
        member_owner=rng.integers(1, 2**63, count).astype(np.uint64),
        member_group=np.arange(count),
    )
    return replace(baseline, groups=honest)


@pytest.mark.parametrize(("count", "decision"), [(98, Decision.REVIEW), (150, Decision.FLAG)])
def test_a_flag_needs_ninety_nine_honest_groups(
    count: int, decision: Decision, honest: Simulated, thieves: Simulated
) -> None:
    accounts = pa.concat_tables([honest.accounts, thieves.accounts])
    found = kdguard.score(honest.exchanges + thieves.exchanges, with_honest_groups(count), accounts)
    campaign = set(thieves.accounts["account_id"].to_pylist())
    across = [v for v in found.verdicts if v.kind == "cluster" and v.stratum == "groups across owners"]
    best = max(across, key=lambda v: len(campaign & set(v.members)))
    assert len(campaign & set(best.members)) >= len(campaign) / 2
    assert best.calibration_size == count
    assert best.decision is decision
    assert best.p_value == pytest.approx(1 / (count + 1))


def test_members_are_reviewed_and_know_their_cluster(findings: Findings) -> None:
    clusters = {v.id: set(v.members) for v in findings.verdicts if v.kind == "cluster"}
    accounts = {v.id: v for v in findings.verdicts if v.kind == "account"}
    for name, members in clusters.items():
        for member in members:
            assert name in accounts[member].clusters
            assert accounts[member].decision in (Decision.FLAG, Decision.REVIEW)
    for verdict in accounts.values():
        assert all(verdict.id in clusters[name] for name in verdict.clusters)


def test_graphs_fit_the_report(findings: Findings) -> None:
    graphs = {graph["id"]: graph for graph in findings.plots["cluster_graph"]}
    for verdict in findings.verdicts:
        if verdict.kind != "cluster":
            continue
        graph = graphs[verdict.id]
        assert [node["id"] for node in graph["nodes"]] == list(verdict.members)
        for item in graph["attributes"]:
            assert len(item["members"]) >= 2
            assert max(item["members"]) < len(graph["nodes"]) <= max(MAX_NODES, len(graph["nodes"]))
        assert all(edge["source"] != edge["target"] for edge in graph["edges"])


def test_the_same_bytes_give_the_same_groups(
    findings: Findings, honest: Simulated, thieves: Simulated
) -> None:
    accounts = pa.concat_tables([honest.accounts, thieves.accounts])
    shuffled = tuple(reversed(honest.exchanges + thieves.exchanges))
    again = kdguard.score(shuffled, small_baseline(), accounts, workers=1)
    assert [v.to_json() for v in again.verdicts] == [v.to_json() for v in findings.verdicts]


def test_groups_survive_the_baseline_file(tmp_path: Path, findings: Findings, honest: Simulated) -> None:
    path = tmp_path / "own.kdg"
    save_baseline(small_baseline(), path)
    loaded = load_baseline(path, default_suite())
    before = kdguard.score(honest.exchanges, small_baseline(), honest.accounts)
    after = kdguard.score(honest.exchanges, loaded, honest.accounts)
    strip = [{**v.to_json(), "baseline_digest": ""} for v in after.verdicts]
    assert strip == [{**v.to_json(), "baseline_digest": ""} for v in before.verdicts]


def test_without_honest_groups_no_cluster_is_claimed(honest: Simulated, thieves: Simulated) -> None:
    bare = replace(small_baseline(), groups=None)
    accounts = pa.concat_tables([honest.accounts, thieves.accounts])
    findings = kdguard.score(honest.exchanges + thieves.exchanges, bare, accounts)
    assert not any(v.kind == "cluster" for v in findings.verdicts)
    assert findings.summary["groups_tested"] is None


def test_a_shipped_baseline_never_flags_a_group(honest: Simulated, thieves: Simulated) -> None:
    shipped = replace(small_baseline(), shipped=True)
    accounts = pa.concat_tables([honest.accounts, thieves.accounts])
    findings = kdguard.score(honest.exchanges + thieves.exchanges, shipped, accounts)
    clusters = [v for v in findings.verdicts if v.kind == "cluster"]
    assert clusters
    assert all(v.decision is Decision.REVIEW for v in clusters)
    assert all(v.guarantee_state is GuaranteeState.UNCALIBRATED for v in clusters)
