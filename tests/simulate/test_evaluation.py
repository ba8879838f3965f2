import gc
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Self, cast

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import binomtest

from kdguard.detectors import default_suite
from kdguard.detectors.query_patterns.technique import TechniqueClassifier
from kdguard.detectors.rivals import RateLimit
from kdguard.errors import InputError
from kdguard.features.text import Words
from kdguard.scoring.suite import Suite
from kdguard.simulate import Campaign, Simulated, Tactics, campaign_world, load_world, simulate
from kdguard.simulate.evaluation import (
    Contestants,
    OwnLog,
    Plan,
    Report,
    SimulatedSource,
    StudyError,
    run_study,
    to_markdown,
)
from kdguard.simulate.evaluation.contamination import contaminated_rows, told
from kdguard.simulate.evaluation.discovery import discoveries
from kdguard.simulate.evaluation.false_alarms import false_alarms, volume_bin
from kdguard.simulate.evaluation.plan import all_variants, full_plan
from kdguard.simulate.evaluation.power import ALL, first_alarms, over_techniques, power
from kdguard.simulate.evaluation.rates import FEWEST_WORLDS, exact_excess, rate_of
from kdguard.simulate.evaluation.rivalry import converse
from kdguard.simulate.evaluation.sources import Kept, Traffic, grid, hidden
from kdguard.simulate.techniques import LANGUAGES, TECHNIQUES, WRAPPED


def test_traffic_is_kept_on_disk_as_long_as_anybody_has_it() -> None:
    month = simulate(replace(load_world("tiny"), owners=6, campaigns=()), seed=2)
    traffic = Traffic.of(month)
    kept = cast(Kept, traffic.exchanges)
    for _ in range(2):
        assert pa.Table.from_batches(kept) == pa.Table.from_batches(month.exchanges)
    path = kept.path
    assert path.exists()
    del traffic, kept
    gc.collect()
    assert not path.exists()


SMALL = Plan(
    worlds=2,
    seed=3,
    teaching_owners=110,
    calibration_owners=150,
    test_owners=40,
    shifted_owners=0,
    operators=1,
    accounts=2,
    requests=60,
    techniques=("cot_elicit", "knockoff"),
    mixes=(1.0, 0.25),
    variants=0,
    rival_worlds=1,
    rival_looks=(20,),
)


@dataclass(frozen=True)
class Quick:
    """The shipped classifier, taught from few prompts."""

    inner: Any

    @property
    def techniques(self) -> tuple[str, ...]:
        return tuple(self.inner.techniques)

    def margins(self, words: Words) -> Any:
        return self.inner.margins(words)

    def fit(self, prompts: Sequence[str], *, seed: int = 0) -> Self:
        return replace(self, inner=self.inner.fit(prompts[:300], seed=seed, per_technique=60))


def quick_suite(leave_out: Sequence[str], languages: Sequence[str]) -> Suite:
    suite = default_suite()
    inner = replace(
        cast(TechniqueClassifier, suite.technique), leave_out=tuple(leave_out), languages=tuple(languages)
    )
    return replace(suite, technique=Quick(inner))


def outcome(n: int, **columns: Any) -> pd.DataFrame:
    frame = pd.DataFrame({"world": [0] * n, "account_id": [f"a{at}" for at in range(n)]})
    frame["owner"] = frame["campaign_id"] = frame["account_id"]
    fixed: dict[str, Any] = {"stratum": "chat", "workload": "w", "country": "XX", "requests": 50, "mix": 1.0}
    return frame.assign(p_pooled=0.5, **fixed).assign(**columns)


def test_rates_resample_owners_and_worlds_not_accounts() -> None:
    rng = np.random.default_rng(0)
    hits = np.repeat(rng.random(40) < 0.3, 25)
    owners = np.repeat(np.arange(40), 25)
    worlds = np.zeros(1000)
    alone = rate_of(hits, np.arange(1000), worlds)
    clustered = rate_of(hits, owners, worlds)
    assert clustered.rate == alone.rate
    assert clustered.high - clustered.low > 3 * (alone.high - alone.low)
    many = np.repeat(np.arange(FEWEST_WORLDS), 125)
    by_world = np.isin(many, [0, 1])
    assert rate_of(by_world, np.arange(1000), many).high > 0.45
    assert clustered.low <= clustered.rate <= clustered.upper <= clustered.high


def test_a_rate_without_hits_has_an_exact_bound() -> None:
    rate = rate_of(np.zeros(300, np.bool_), np.repeat(np.arange(100), 3), np.zeros(300))
    assert (rate.rate, rate.clusters) == (0.0, 100)
    assert rate.upper == pytest.approx(1 - 0.05 ** (1 / 100))
    assert rate.high == pytest.approx(1 - 0.025 ** (1 / 100))


def test_exact_excess_is_the_binomial_test() -> None:
    assert exact_excess(9, 200, 0.02) == pytest.approx(binomtest(9, 200, 0.02, "greater").pvalue)
    assert exact_excess(0, 0, 0.02) == 1.0


def test_false_alarms_leave_abstentions_out_and_count_them() -> None:
    rows = outcome(120, p_value=[0.005] * 3 + [0.5] * 97 + [np.nan] * 20, requests=[200] * 100 + [5] * 20)
    cells = {(cell.key["group"], cell.key["name"]): cell for cell in false_alarms(rows, 0.01, 0)}
    overall = next(cell for cell in false_alarms(rows, 0.01, 0) if cell.key["statistic"] == "p_value")
    assert (overall.rate.hits, overall.rate.trials, overall.rate.abstained) == (3, 100, 20)
    assert cells["volume", "under 10"].rate.trials == 0
    assert cells["stratum and volume", "chat, 160 to 1279"].exact_p == pytest.approx(
        exact_excess(3, 100, 0.02)
    )


def test_exact_test_takes_one_account_an_owner() -> None:
    rows = outcome(
        100, p_value=[0.005] * 50 + [0.5] * 50, owner=["one"] * 50 + [f"o{at}" for at in range(50)]
    )
    cell = next(c for c in false_alarms(rows, 0.01, 0) if c.exact_p is not None)
    assert cell.exact_p == pytest.approx(exact_excess(1, 51, 0.02))


def test_volume_bins_are_named_after_their_ends() -> None:
    assert volume_bin(pd.Series([9, 10, 159, 160, 1280])).tolist() == [
        "under 10", "10 to 19", "20 to 159", "160 to 1279", "1280 and more",
    ]  # fmt: skip


def test_power_counts_abstentions_as_misses() -> None:
    rows = outcome(10, technique="cot_elicit", p_20=[0.001] * 4 + [np.nan] * 6)
    (cell,) = power(rows, ("technique",), 0.01, 0, (20,))
    assert (cell.rate.hits, cell.rate.trials, cell.rate.abstained) == (4, 10, 6)
    assert cell.key == {"technique": "cot_elicit", "requests": 20}
    assert set(over_techniques(rows)["technique"]) == {ALL, "cot_elicit"}


def test_first_alarms_keep_those_that_never_came() -> None:
    rows = outcome(10, technique="cot_elicit", first_alarm=[10] * 5 + [40] * 3 + [0] * 2)
    one = next(found for found in first_alarms(rows, 0) if found.technique == "cot_elicit")
    assert (one.median, one.p90, one.never) == (10, np.inf, 0.2)


def scored(p_values: list[float], first_owner: int = 0) -> Any:
    n = len(p_values)
    facts = SimpleNamespace(owner=np.arange(n) + first_owner, permitted=np.zeros(n, np.bool_))
    facts = type("Facts", (SimpleNamespace,), {"__len__": lambda self: n})(**vars(facts))
    return SimpleNamespace(p_value=np.array(p_values), p_pooled=np.array(p_values), facts=facts)


def test_discoveries_count_false_flags() -> None:
    found = discoveries(scored([1e-6, *[0.5] * 97, np.nan, 0.9]), scored([1e-6] * 200, 1000), SMALL, 0)
    nobody, few, many = found
    assert (nobody["attackers"], nobody["false"]) == (0, 1)
    assert (few["attackers"], few["found"], few["false"]) == (2, 2, 1)
    assert many["found"] == many["attackers"] == 11


def test_plans_name_every_variant_and_no_seed_twice() -> None:
    variants = all_variants()
    assert len(set(variants)) == len(WRAPPED) + len(LANGUAGES) + 2
    assert len(variants) == 20
    visited = {one for world in range(20) for one in full_plan().variants_of(world)}
    assert visited == set(variants)
    seeds = {SMALL.seed_of(world, part) for world in range(50) for part in ("test", "grid", "teaching")}
    assert len(seeds) == 150
    assert min(seeds) > 10_000
    assert SMALL.digest("x") == replace(SMALL, worlds=9).digest("x") != SMALL.digest("y")


def test_a_third_of_a_baselines_owners_teach() -> None:
    plan = Plan().with_baselines_of(301)
    assert (plan.teaching_owners, plan.calibration_owners) == (100, 201)
    assert plan.digest("suite") != Plan().digest("suite")


def test_grid_and_hidden_attackers_cover_all_techniques() -> None:
    campaigns = grid(Plan())
    assert {c.technique for c in campaigns} == set(TECHNIQUES)
    assert len({c.name for c in campaigns}) == len(campaigns)
    assert {c.technique for c in hidden(Plan(), 30)} == set(TECHNIQUES)


@pytest.mark.filterwarnings("ignore")
def test_a_study_resumes_to_the_same_report(tmp_path: Path) -> None:
    contestants = Contestants(quick_suite, SimulatedSource(), (RateLimit(),))
    lines: list[str] = []
    first = run_study(SMALL, contestants, tmp_path, workers=1, tell=lines.append)
    assert len(lines) == 2
    (tmp_path / "world-001.json").unlink()
    again = run_study(SMALL, contestants, tmp_path, workers=1, tell=lines.append)
    assert lines[2].startswith("1 of 2")

    def timeless(report: Report) -> str:
        values = report.to_json()
        for world in values["worlds"]:
            world.pop("seconds")
            world.pop("seconds_kdguard")
        return json.dumps(values, allow_nan=False)

    assert timeless(again) == timeless(first)
    with pytest.raises(StudyError, match="another --out"):
        run_study(replace(SMALL, seed=4), contestants, tmp_path, workers=1)

    overall = first.honest[0].rate
    assert overall.trials + overall.abstained >= 2 * SMALL.test_owners
    pure = {
        c.key["requests"]: c.rate for c in first.power if c.key["technique"] == ALL and c.key["mix"] == 1.0
    }
    assert pure[20].trials == 2 * 2 * 2
    assert pure[20].hits <= pure[50].hits <= pure[500].hits
    assert {c.key["rival"] for c in first.comparison} == {"kdguard", "rate limit"}
    text = to_markdown(first)
    assert "## False alarms of honest accounts" in text
    assert "## Beside published methods" in text


@pytest.mark.slow  # a minute: three baselines are learnt
def test_a_baseline_with_thieves_is_reviewed_as_often_as_told() -> None:
    plan, source = replace(SMALL, reviews=2, alpha=0.2), SimulatedSource()
    scene = source.scene(plan, 0)
    campaigns = source.campaigns(plan, 0, scene, grid(plan), "grid")
    parts, reviews = contaminated_rows(plan, 0, 0.05, quick_suite((), ()), source, scene, campaigns)
    rows = pd.concat(parts)
    assert rows.groupby("part")["setting"].unique().map(list).to_dict() == {
        "contaminated": ["0.05", "0.05 1", "0.05 2"],
        "benign_contaminated": ["0.05", "0.05 1", "0.05 2"],
    }
    first, second = reviews
    assert first.thieves, "a review that finds nobody shows nothing"
    assert not set(first.thieves) & set(second.thieves)
    assert len(first.thieves) + first.missed == 6 + 8, "a twentieth of all owners, of either part"
    assert second.missed == first.missed - len(second.thieves)


def test_reviews_are_told_in_words() -> None:
    assert told("0") == "0% attackers"
    assert told("0.05 1") == "5% attackers, those found by one review left out"
    assert told("0.01 3") == "1% attackers, those found by 3 reviews left out"


def own_log() -> tuple[OwnLog, Simulated]:
    world = replace(load_world("standard"), owners=230, volume_cap=300)
    simulated = simulate(world, seed=5, split="calibration")
    return OwnLog(simulated.exchanges, simulated.accounts), simulated


def test_own_log_splits_owners_and_hides_attacks_in_its_own_accounts() -> None:
    source, simulated = own_log()
    scene = source.scene(SMALL, 0)
    owners = [set(part.labels["owner_id"]) for part in (scene.teaching, scene.calibration, scene.test)]
    assert len(owners[0] | owners[1] | owners[2]) == sum(map(len, owners))
    seen = [set(batch.column("account_id").to_pylist()) for batch in scene.test.exchanges]
    assert set().union(*seen) == set(scene.test.labels.index)

    moved = Campaign("cot_elicit", "moved", 2, 60, 0.25, None, Tactics(jitter=1.0))
    attacks = source.campaigns(SMALL, 0, scene, (Campaign("cot_elicit", "c", 3, 60, 0.25), moved), "grid")
    assert len(attacks.labels) == 3
    assert attacks.labels["owner_id"].is_unique
    known = simulated.table().to_pandas().set_index("request_id")["prompt"]
    rows = pd.concat([batch.to_pandas() for batch in attacks.exchanges])
    changed = rows["prompt"].to_numpy() != known.reindex(rows["request_id"]).to_numpy()
    share = pd.Series(changed).groupby(rows["account_id"].to_numpy()).mean()
    assert share.between(0.15, 0.3).all()
    assert attacks.accounts is not None
    hosts = attacks.accounts.to_pandas().set_index("account_id").loc[attacks.labels.index]
    assert hosts[["org_id", "payment_hash"]].isna().all(axis=None)


def test_own_log_needs_owners_enough() -> None:
    simulated = simulate(replace(load_world("standard"), owners=20), seed=1)
    with pytest.raises(InputError, match="200 owners"):
        OwnLog(simulated.exchanges, simulated.accounts).scene(SMALL, 0)


def test_conversations_hold_the_first_requests_in_order() -> None:
    simulated = simulate(campaign_world(technique="cot_elicit", accounts=4, requests=30), seed=2)
    found = converse(Traffic.of(simulated), 10, 0)
    table = simulated.table().to_pandas()
    assert sorted(found.account_id) == sorted(map(str, simulated.accounts["account_id"].to_pylist()))
    for at, name in enumerate(found.account_id):
        own = table[table["account_id"] == name].sort_values(["time", "request_id"])["prompt"].tolist()[:10]
        assert found.prompts.to_pylist()[found.indptr[at] : found.indptr[at + 1]] == own
