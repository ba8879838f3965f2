"""Released against withheld: exact under the null, found in students, leakers named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.stats import binom, binomtest, kstest, wilcoxon

from kdguard.detectors.twins.claims import exact_p, leaker_named, score
from kdguard.detectors.twins.coins import bias, colluders_supported, released
from kdguard.detectors.twins.planning import commitments, plan_twins, read_plan, write_plan
from kdguard.detectors.twins.preferences import as_integers, contrast, from_likelihoods, from_texts
from kdguard.detectors.twins.suspects import (
    about_accounts,
    account_p_values,
    key_names,
    name_leakers,
    rows_of,
    statistics_of,
)
from kdguard.errors import TwinsError
from kdguard.ledger.draws import chance
from kdguard.ledger.keys import create_keys
from tests.audit.made_case import NOW
from tests.detectors.twins.made_twins import candidates, coins, learnt, make_twins


def test_the_leaker_is_named_and_nobody_else(tmp_path: Path) -> None:
    plan, keys = make_twins(tmp_path, accounts=20, sites=120)
    preferences = learnt(plan, keys, "a7", 1.2, np.random.default_rng(0))
    (named,) = name_leakers(plan, keys, preferences, alpha=1e-3)
    assert (named.subject, named.detector) == ("a7", "twins.leaker")
    assert "enough for 1 acting together" in named.summary
    (own,) = about_accounts(plan, keys, preferences, ["a7"])
    (strangers,) = about_accounts(plan, keys, preferences, ["a1", "a2", "a3"])
    assert own.p_value is not None
    assert strangers.p_value is not None
    assert own.p_value < 1e-9 < 1e-3 < strangers.p_value
    assert strangers.subject == "3 accounts"


def test_p_values_are_those_of_the_textbook(tmp_path: Path) -> None:
    """Sign test and Wilcoxon's signed ranks, as scipy computes them."""
    plan, keys = make_twins(tmp_path, accounts=1, sites=24)
    preferences = learnt(plan, keys, "a0", 0.3, np.random.default_rng(1))
    towards = np.array([preferences[site] * coin for site, coin in coins(plan, keys, "a0").items()])
    ranked = wilcoxon(towards, alternative="greater", method="exact").pvalue
    assert account_p_values(plan, keys, preferences)[0] == pytest.approx(ranked, rel=1e-9)
    signs = replace(plan, parameters={**plan.parameters, "statistic": "sign"})
    counted = binomtest(int((towards > 0).sum()), 24, alternative="greater").pvalue
    assert account_p_values(signs, keys, preferences)[0] == pytest.approx(counted, rel=1e-9)


@pytest.mark.parametrize("colluders", [1, 3])
def test_innocent_p_values_are_uniform(colluders: int) -> None:
    """2,000 keys against one suspect with strong preferences of its own; false-fail rate 1e-4 a check."""
    rng = np.random.default_rng(2)
    sites = [f"{number:04d}" for number in range(60)]
    raw = dict(zip(sites, rng.normal(3, 1, 60), strict=True))
    rows = list(as_integers(raw, "rank" if colluders == 1 else "sign").items())
    epoch_key = bytes(32)
    p_values, smooth = [], []
    for number in range(2_000):
        total, terms = score(rows, number.to_bytes(32, "big"), epoch_key, colluders)
        at_least, above = exact_p(total, terms), exact_p(total + 1, terms)
        p_values.append(at_least)
        smooth.append(above + rng.random() * (at_least - above))
    for alpha in (0.5, 0.1, 0.01):
        assert (np.array(p_values) <= alpha).sum() <= binom.isf(3e-5, 2_000, alpha)
    assert kstest(smooth, "uniform").pvalue > 1e-4


def test_a_coalition_is_named_on_biased_coins(tmp_path: Path) -> None:
    """Two accounts serve their student a random one of their two answers at every site."""
    plan, keys = make_twins(tmp_path, accounts=12, sites=700, colluders=2)
    rng = np.random.default_rng(3)
    first, second = (coins(plan, keys, account) for account in ("a1", "a2"))
    mixed = {site: float(first[site] if rng.random() < 0.5 else second[site]) for site in first}
    named = name_leakers(plan, keys, mixed, alpha=1e-3)
    assert {evidence.subject for evidence in named} == {"a1", "a2"}
    assert colluders_supported(700, 12, fair=False) >= 2


def test_what_sites_support() -> None:
    assert colluders_supported(128, 100_000, fair=True) == 1
    assert colluders_supported(40, 100_000, fair=True) == 0
    assert colluders_supported(128, 100_000, fair=False) == 0
    assert [colluders_supported(sites, 100_000, fair=False) for sites in (256, 1024, 2048)] == [1, 2, 3]


def test_coins_follow_their_bias() -> None:
    """False-fail rate 1e-4."""
    keys = [number.to_bytes(32, "big") for number in range(3_000)]
    for site in ("x", "y", "z"):
        expected = bias(bytes(32), site, 3)
        count = sum(released(key, site, expected) for key in keys)
        assert binom.ppf(1e-5, 3_000, expected) <= count <= binom.isf(1e-5, 3_000, expected)
    biases = [bias(bytes(32), str(number), 2) for number in range(2_000)]
    assert kstest(np.arcsin(np.sqrt(biases)) / (np.pi / 2), "uniform").pvalue > 1e-4
    assert chance(bytes(32), "a", "x") != chance(bytes(32), "b", "x")


def test_preferences_from_texts_and_likelihoods() -> None:
    answers = {"s": ("Plainly, it is north.", "I would say south."), "t": ("a b", "c d")}
    found = from_texts([("s", "I would say: south!"), ("s", "North."), ("t", "x"), ("other", "x")], answers)
    assert found["t"] == 0
    assert 0 < found["s"] < 1
    assert as_integers(found, "rank") == {"s": 1}
    likelihoods = from_likelihoods([("s", -3.0, -1.0), ("s", -1.0, -1.0), ("t", -1.0, -5.0)])
    assert likelihoods == {"s": 1.0, "t": -4.0}
    assert as_integers(likelihoods, "rank") == {"s": 1, "t": -2}
    assert as_integers({"s": 2.0, "t": 2.0, "u": -1.0}, "rank") == {"s": 5, "t": 5, "u": -2}
    assert contrast(likelihoods, {"t": -4.0}) == {"s": 1.0, "t": 0.0}
    with pytest.raises(TwinsError, match="must be finite"):
        from_likelihoods([("s", float("nan"), 0.0)])
    with pytest.raises(TwinsError, match="rank, sign"):
        as_integers({}, "mean")


def test_sites_cannot_be_chosen_afterwards(tmp_path: Path) -> None:
    plan, keys = make_twins(tmp_path)
    preferences = learnt(plan, keys, "a0", 0.0, np.random.default_rng(4))
    mine = coins(plan, keys, "a0")
    lucky = tuple(site for site in plan.sites["a0"] if preferences[site] * mine[site] > 0)
    picked = replace(plan, sites={**plan.sites, "a0": lucky})
    statistics = statistics_of(picked, preferences, ["a0"])
    with pytest.raises(TwinsError, match="not those that were committed"):
        leaker_named(statistics, plan.parameters, {key_names(plan, ["a0"])[0]: bytes(32)})
    honest = statistics_of(plan, preferences, ["a0"])
    honest["preferences"]["a0"].append(honest["preferences"]["a0"][0])
    with pytest.raises(TwinsError, match="one row for each"):
        leaker_named(honest, plan.parameters, {key_names(plan, ["a0"])[0]: bytes(32)})


def test_a_plan_is_read_again(tmp_path: Path) -> None:
    rows = candidates(3, 5, shared=False)
    keys = create_keys(tmp_path / "keys").current
    plan = plan_twins(keys, "e", rows)
    path = tmp_path / "twins.parquet"
    write_plan(plan, keys, commitments(plan, keys, NOW), rows, path)
    assert read_plan(path) == plan
    table = pq.read_table(path)
    assert table.num_rows == 15
    given = {(row["account_id"], row["site_id"]): 2 * row["released"] - 1 for row in table.to_pylist()}
    assert given == {
        (account, site): coin for account in plan.sites for site, coin in coins(plan, keys, account).items()
    }
    pq.write_table(table.slice(1), path)
    with pytest.raises(TwinsError, match="rows were changed"):
        read_plan(path)
    pq.write_table(table.replace_schema_metadata(None), path)
    with pytest.raises(TwinsError, match="twins plan"):
        read_plan(path)


def test_impossible_plans(tmp_path: Path) -> None:
    keys = create_keys(tmp_path / "keys").current
    with pytest.raises(TwinsError, match="no candidates"):
        plan_twins(keys, "e", [])
    with pytest.raises(TwinsError, match="two answers that differ"):
        plan_twins(keys, "e", [("r", "a", "p", "same", "same")])
    with pytest.raises(TwinsError, match="'sign' for more than one"):
        plan_twins(keys, "e", candidates(1, 2, shared=True), 2, "rank")


def test_too_much_at_once_says_what_to_do(tmp_path: Path) -> None:
    plan, keys = make_twins(tmp_path)
    rows = [(f"s{number}", 10**6) for number in range(3)]
    with pytest.raises(TwinsError, match="take fewer accounts"):
        exact_p(*score(rows, bytes(32), bytes(32), 1))
    with pytest.raises(TwinsError, match="has no twins"):
        about_accounts(plan, keys, {}, ["stranger"])
    assert rows_of(plan, {}, "a0") == []
    assert about_accounts(plan, keys, {}, ["a0"])[0].p_value == 1.0
