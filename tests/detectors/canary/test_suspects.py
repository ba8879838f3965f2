"""Claims: the learner is named, strangers are not, and p-values of innocents are uniform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom, kstest

from kdguard.detectors.canary.claims import account_named, contact, exposure
from kdguard.detectors.canary.planning import account_key
from kdguard.detectors.canary.scoring import draw, weigh
from kdguard.detectors.canary.suspects import (
    about_accounts,
    account_p_values,
    name_accounts,
    read_suspect,
)
from kdguard.errors import CanaryError
from kdguard.ledger.derivation import KeyName
from kdguard.ledger.draws import picks
from tests.detectors.canary.made_plan import make_plan, suspect_answers

NAME = KeyName("canary", "x", "e")


def test_the_learner_is_named_and_nobody_else(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path, accounts=5)
    answers = suspect_answers(plan, keys, "a2", 0.4, np.random.default_rng(1))
    reading = read_suspect(plan, answers)
    named = name_accounts(plan, keys, reading, alpha=1e-6)
    # The rest of the answers are those of "a4", whom the suspect learnt from as well.
    assert {evidence.subject for evidence in named} == {"a2", "a4"}
    assert all(evidence.p_value is not None and evidence.p_value < 1e-6 for evidence in named)
    assert all(evidence.score > 20 for evidence in named)
    alone = about_accounts(plan, keys, reading, ["a1", "a2"], alone=True)
    assert [evidence.detector for evidence in alone] == ["canary.contact"] * 2
    assert alone[0].p_value is not None
    assert alone[0].p_value > 0.01
    assert alone[1].p_value == pytest.approx(2e-4)


def test_all_accounts_at_once_agree_with_one_by_one(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path)
    reading = read_suspect(plan, suspect_answers(plan, keys, "a0", 0.1, np.random.default_rng(2)))
    together = account_p_values(plan, keys, reading)
    single = about_accounts(plan, keys, reading, list(plan.marked), alone=False)
    assert [2.0**-evidence.score for evidence in single] == pytest.approx(together.tolist())


def test_a_clean_models_habits_are_taken_off(tmp_path: Path) -> None:
    """A model that always says "however" is no evidence against the account whose key drew it."""
    plan, keys = make_plan(tmp_path, accounts=20, families=("wording",))
    answers = [("free", "However, it is, for example, roughly so; consequently, in short, likewise.")] * 40
    plain = account_p_values(plan, keys, read_suspect(plan, answers))
    against = account_p_values(plan, keys, read_suspect(plan, answers, clean=answers))
    assert plain.min() < 0.5
    assert against.tolist() == [1.0] * 20


def test_answers_must_belong_to_the_epoch(tmp_path: Path) -> None:
    plan, keys = make_plan(tmp_path)
    with pytest.raises(CanaryError, match="no answer belongs"):
        read_suspect(plan, [("elsewhere", "Nothing here.")])
    reading = read_suspect(plan, [(plan.sites[-1].site_id, "Nothing here.")])
    assert name_accounts(plan, keys, reading, 0.05) == ()
    with pytest.raises(CanaryError, match="not marked"):
        about_accounts(plan, keys, reading, ["stranger"], alone=True)


def _statistics(seen: list[list[int]], sites: int = 30) -> dict[str, object]:
    rows = [f"s{number} fact 16 100 3" for number in range(sites)]
    return {"sites": rows, "seen": seen, "marked": {"x": sites}}


def _parameters(statistics: dict[str, object], accounts: int = 1) -> dict[str, object]:
    from kdguard.detectors.canary.claims import sites_digest

    return {"accounts": accounts, "recall": 0.1, "sites_digest": sites_digest(statistics["sites"])}  # type: ignore[arg-type]


def test_innocent_p_values_are_valid_and_nearly_uniform() -> None:
    """4,000 keys against one suspect with strong habits. False-fail rate of each bound below 1e-4."""
    rng = np.random.default_rng(3)
    sizes = [[16, 100, 3]] * 30
    seen = [[choice, int(rng.integers(min(3, size))), 4] for choice, size in enumerate([16, 100, 3] * 30)]
    choices = weigh(sizes, seen, 0.1)
    null = choices.null(30)
    drawn = np.stack([draw(key.to_bytes(32, "big"), choices.sizes) for key in range(4_000)])
    p_values = null.p_values(choices.score_all(drawn, 30))
    for alpha in (0.5, 0.1, 0.01, 0.001):
        assert (p_values <= alpha).sum() <= binom.isf(1e-4 / 4, 4_000, alpha)
    # The score is discrete: a tie is broken at random for the test of uniformity only.
    above = np.append(null.tail, 0.0)[choices.score_all(drawn, 30) - null.smallest + 1]
    smooth = above + rng.random(4_000) * (p_values - above)
    assert kstest(smooth, "uniform").pvalue > 1e-4


def test_exact_and_decoy_p_agree() -> None:
    rng = np.random.default_rng(4)
    key = bytes(rng.integers(0, 256, 32, dtype=np.uint8))
    drawn = draw(key, np.array([16, 100, 3] * 30))
    seen = [[choice, int(value), 1] for choice, value in enumerate(drawn) if rng.random() < 0.03]
    seen += [[choice, 0, 1] for choice in range(90)]
    statistics = _statistics(seen)
    exact = account_named(statistics, _parameters(statistics), {NAME: key})[0].p_value
    ranked = contact(statistics, _parameters(statistics), {NAME: key})[0].p_value
    assert exact is not None
    assert ranked is not None
    # Six standard errors of a share of 9,999.
    assert abs(ranked - exact) < 6 * np.sqrt(exact / 9_999) + 1e-3


def test_naming_pays_for_the_number_of_accounts() -> None:
    key = bytes(32)
    drawn = draw(key, np.array([16, 100, 3] * 30))
    statistics = _statistics([[choice, int(drawn[choice]), 1] for choice in (0, 1)])
    one, many = (
        account_named(statistics, _parameters(statistics, accounts), {NAME: key})[0] for accounts in (1, 100)
    )
    assert one.p_value is not None
    assert many.p_value == pytest.approx(min(100 * one.p_value, 1))
    assert one.score == many.score == pytest.approx(exposure(one.p_value))


def test_counts_outside_the_choices_are_refused() -> None:
    for row in ([90, 0, 1], [0, 16, 1], [0, 0, -1]):
        with pytest.raises(CanaryError, match="seen must hold"):
            weigh([[16, 100, 3]] * 30, [row], 0.1)


def test_draws_are_uniform() -> None:
    """Chi-square over 30,000 draws of a die; false-fail rate 1e-4."""
    counts = np.bincount(picks(bytes(32), ["die"], np.full(30_000, 6)), minlength=6)
    assert (((counts - 5_000) ** 2) / 5_000).sum() < 25.7


def test_epochs_draw_apart(tmp_path: Path) -> None:
    _, keys = make_plan(tmp_path)
    old, new = (account_key(keys, "a0", epoch).key.reveal() for epoch in ("2026-12", "2027-01"))
    sizes = np.full(400, 16)
    assert (draw(old, sizes) == draw(new, sizes)).sum() < 60
