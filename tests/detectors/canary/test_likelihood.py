"""Canaries read from likelihoods: who learnt them is named, whoever did not has uniform ranks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from kdguard.detectors.canary.forms import REWRITTEN
from kdguard.detectors.canary.likelihood import (
    DECOY_REPLIES,
    Reply,
    account_replies,
    decoy_replies,
    p_of_ranks,
)
from kdguard.detectors.canary.planning import Plan, account_key
from kdguard.detectors.canary.suspects import (
    about_accounts,
    name_accounts,
    read_likelihoods,
    statistics_of,
)
from kdguard.errors import CanaryError
from kdguard.ledger.keys import Generation
from tests.detectors.canary.made_plan import make_plan

Row = tuple[str, Reply, float]


def _likelihoods(
    plan: Plan, keys: Generation, learnt: str, gain: float, rng: np.random.Generator
) -> list[Row]:
    """A suspect that finds one account's replies likelier by `gain` standard deviations of all others."""
    sizes = [site.sizes for site in plan.sites]
    decoys = decoy_replies(plan.epoch, plan.parameters, sizes)
    own = {
        account: account_replies(account_key(keys, account, plan.epoch).key.reveal(), sizes)
        for account in plan.marked
    }
    rows = []
    for place, site in enumerate(plan.sites):
        if site.form.family in REWRITTEN:
            continue
        for reply in {*decoys[place], *(replies[place] for replies in own.values())}:
            known = gain * (reply == own[learnt][place])
            rows.append((site.site_id, reply, float(rng.normal() + known)))
    return rows


def test_the_account_that_was_learnt_is_named_and_no_other(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path, families=("fact", "number"))
    reading = read_likelihoods(plan, _likelihoods(plan, keys, "a2", 4.0, np.random.default_rng(1)))
    (named,) = name_accounts(plan, keys, reading, 0.001)
    assert (named.subject, named.n) == ("a2", 20)
    assert named.p_value is not None
    assert named.p_value < 1e-20
    (told,) = about_accounts(plan, keys, reading, ["a3"], alone=True)
    assert told.p_value is not None
    assert told.p_value > 1e-4


def test_a_case_about_one_account_holds_no_reply_of_another(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path, families=("fact", "number"))
    reading = read_likelihoods(plan, _likelihoods(plan, keys, "a2", 4.0, np.random.default_rng(1)))
    told = statistics_of(plan, keys, reading, ["a2"])
    assert told["marked"].keys() == {"a2"}
    assert {len(rows) for rows in told["likelihoods"].values()} == {DECOY_REPLIES + 1}


def test_what_a_clean_model_finds_likely_is_taken_off(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path, families=("fact", "number"))
    rng = np.random.default_rng(2)
    learnt = _likelihoods(plan, keys, "a2", 4.0, rng)
    habits = {(site, reply): float(rng.normal(0, 100)) for site, reply, _ in learnt}
    rows = [(site, reply, value + habits[site, reply]) for site, reply, value in learnt]
    clean = [(site, reply, habits[site, reply]) for site, reply, _ in learnt]
    assert not name_accounts(plan, keys, read_likelihoods(plan, rows), 0.001)
    (named,) = name_accounts(plan, keys, read_likelihoods(plan, rows, clean), 0.001)
    assert named.subject == "a2"


def test_ranks_that_nobody_chose_give_a_valid_p() -> None:
    """20,000 draws of eight uniform ranks: false-fail rate below 1e-4 a level."""
    rng = np.random.default_rng(0)
    p_values = np.array([p_of_ranks(row.tolist()) for row in rng.integers(1, DECOY_REPLIES + 2, (20_000, 8))])
    for level in (0.5, 0.1, 0.01, 0.001):
        hits = int((p_values <= level).sum())
        assert binomtest(hits, 20_000, level, alternative="greater").pvalue > 1e-4
        assert hits > 0.5 * level * 20_000
    assert p_of_ranks([]) == 1
    assert p_of_ranks([1]) == pytest.approx(1 / (DECOY_REPLIES + 1))


def test_no_site_and_no_decoy_may_be_left_out(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path, families=("fact", "number"))
    rows = _likelihoods(plan, keys, "a2", 4.0, np.random.default_rng(1))
    first = rows[0][0]
    for fewer in ([row for row in rows if row[0] != first], rows[1:]):
        with pytest.raises(CanaryError, match="are missing; ask with 'kdguard canary ask'"):
            about_accounts(plan, keys, read_likelihoods(plan, fewer), list(plan.marked), alone=True)
    with pytest.raises(CanaryError, match="must be finite"):
        read_likelihoods(plan, [(first, rows[0][1], float("nan"))])
    with pytest.raises(CanaryError, match="no row belongs"):
        read_likelihoods(plan, [("elsewhere", (1,), -1.0)])
