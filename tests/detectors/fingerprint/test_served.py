"""Accounts that a suspect learnt from are named, innocent ones are not; exact whatever the suspect likes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from kdguard.detectors.fingerprint.served import Settings, rank_accounts, read_served, served_of
from kdguard.detectors.fingerprint.served.accounts import deal_p_value
from kdguard.errors import LineageError

SHIPPED = Path(__file__).parents[3] / "fixtures"


def scene(
    effect: float, seed: int, *, twins: bool = False, accounts: int = 4, texts: int = 60
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Texts of some accounts and of nobody, and a suspect that learnt from account a0; hard texts are hard for all."""
    rng = np.random.default_rng(seed)
    owners = [f"a{at}" for at in range(accounts) for _ in range(texts)] + [None] * (
        texts * (accounts if twins else 1)
    )
    told = pd.DataFrame({"text_id": range(len(owners)), "account": owners, "tokens": 10})
    if twins:
        told["stratum"] = [at % (accounts * texts) for at in range(len(owners))]
    hard = rng.normal(size=len(told)) - 20
    rows = [
        {"model": model, "text_id": at, "logprob": hard[at] + 0.3 * rng.normal() + (effect if mine else 0)}
        for model in ("suspect", "clean-1", "clean-2")
        for at, mine in zip(told["text_id"], (told["account"] == "a0") & (model == "suspect"), strict=True)
    ]
    return told, pd.DataFrame(rows)


def found(effect: float, seed: int, deals: int = 499, **told: bool) -> dict[str, float]:
    served = served_of(*scene(effect, seed, **told), "suspect", ["clean-1", "clean-2"])
    ranked = rank_accounts(served, "suspect", Settings(deals=deals))
    return {one.account: one.p_adjusted if one.p_adjusted is not None else 2.0 for one in ranked}


@pytest.mark.parametrize("twins", [False, True])
def test_the_account_is_named_and_no_other(twins: bool) -> None:
    told = found(0.6, 1, deals=4_999, twins=twins)
    assert next(iter(told)) == "a0"
    assert told["a0"] <= 0.01
    assert min(p for account, p in told.items() if account != "a0") > 0.01


def test_innocent_accounts_are_named_at_most_at_the_stated_rate() -> None:
    """150 suspects that learnt from nobody, four accounts each, family-wise .05; 15 or more have chance 1 %."""
    assert sum(min(found(0.0, seed).values()) <= 0.05 for seed in range(150)) < 15


def test_deals_within_strata_are_exact() -> None:
    """Three pairs: of the 8 ways to deal them 1 is as good as the best, so p is near 1/8; ties count."""
    rng = np.random.default_rng(0)
    scores, stratum = np.array([1.0, 0, 2, 0, 4, 0]), np.array([0, 0, 1, 1, 2, 2])
    mine = np.array([True, False, True, False, True, False])
    assert deal_p_value(scores, stratum, mine, 20_000, rng) == pytest.approx(1 / 8, abs=0.01)
    assert deal_p_value(scores, stratum, ~mine, 20_000, rng) == 1
    assert deal_p_value(np.zeros(6), stratum, mine, 100, rng) == 1


def test_students_of_the_fixtures_name_their_account() -> None:
    members = json.loads((SHIPPED / "models" / "manifest.json").read_text())["models"]
    clean = [one["name"] for one in members if one["role"] == "control"]
    folder = SHIPPED / "lineage"
    hits = []
    for one in members:
        if one["role"] == "student" and one["dose"] == 1 and one["route"] == "rationale":
            texts = pd.read_parquet(folder / "texts.parquet")
            texts = texts[texts["family"] == one["families"][0]]
            readings = pd.read_parquet(
                folder / "likelihoods.parquet", filters=[("text_id", "in", texts["text_id"].tolist())]
            )
            served = served_of(texts, readings, one["name"], clean)
            ranked = rank_accounts(served, one["name"], Settings(deals=999, drawn=True))
            assert [each.texts for each in ranked] == [60, 60]
            assert ranked[0].withheld
            assert ranked[0].evidence is not None
            assert ranked[0].evidence.guarantee.value == "randomised"
            hits.append((ranked[0].account == one["account"], (ranked[0].p_adjusted or 0) <= 0.05))
    assert all(right for right, _ in hits)
    assert sum(named for _, named in hits) >= 6
    assert len(hits) == 9


def test_too_little_and_strangers(tmp_path: Path) -> None:
    texts, readings = scene(0.6, 1)
    few = texts[(texts["account"] != "a0") | (texts["text_id"] < 9)]
    told = rank_accounts(served_of(few, readings, "suspect", []), "suspect", Settings(deals=99))
    last = told[-1]
    assert last.account == "a0"
    assert last.evidence is None
    assert last.to_json("suspect", 0.01)["verdict"] == "inconclusive"
    assert "9 texts of the account" in last.reason
    with pytest.raises(LineageError, match="no readings of model 'nobody'"):
        served_of(texts, readings, "nobody", [])
    with pytest.raises(LineageError, match="missing account"):
        served_of(texts.drop(columns="account"), readings, "suspect", [])
    with pytest.raises(LineageError, match="a test needs 20"):
        served_of(texts.head(10), readings, "suspect", [])
    (tmp_path / "texts.parquet").write_bytes(b"PAR1")
    with pytest.raises(LineageError, match="must be Parquet, JSON lines or CSV"):
        read_served(tmp_path / "texts.parquet", tmp_path / "texts.parquet", "suspect", [])


def test_accounts_alone_are_compared_with_each_other() -> None:
    texts, readings = scene(0.6, 2)
    served = served_of(texts.dropna(), readings, "suspect", ["clean-1", "clean-2"])
    ranked = rank_accounts(served, "suspect", Settings(deals=4_999))
    assert ranked[0].account == "a0"
    assert not ranked[0].withheld
    assert ranked[0].p_adjusted is not None
    assert ranked[0].p_adjusted <= 0.01
    assert "of other accounts" in (ranked[0].evidence.summary if ranked[0].evidence else "")
