"""Mixtures of request scores: what is learnt of honest accounts, and what the Bayes factor promises."""

from __future__ import annotations

import numpy as np

from kdguard.detectors.query_patterns.mixture import (
    SHARES,
    learn_shares,
    log10_bayes_factor,
    log_likelihood,
    ordinary_part,
)
from tests.rates import assert_detectable, assert_rate_at_most

ORDINARY = np.array([0.9, 0.08, 0.015, 0.005])
OTHER = np.array([0.1, 0.2, 0.3, 0.4])
RATIO = OTHER / ORDINARY
MOST = 1_000.0


def histories(rng: np.random.Generator, share: np.ndarray, looks: tuple[int, ...]) -> list[np.ndarray]:
    """Histograms of the same accounts after each number of requests."""
    part = (1 - share)[:, None] * ORDINARY + share[:, None] * OTHER
    total = np.zeros((len(share), 4))
    found = []
    for before, after in zip((0, *looks), looks, strict=False):
        total = total + rng.multinomial(after - before, part)
        found.append(total)
    return found


def honest_shares(rng: np.random.Generator, accounts: int) -> np.ndarray:
    """Nine in ten accounts hold nothing of the other part, the others up to a fifth."""
    return np.where(rng.random(accounts) < 0.9, 0.0, rng.uniform(0, 0.2, accounts))


def test_distribution_of_shares_is_recovered(rng: np.random.Generator) -> None:
    """Seven in ten accounts hold nothing, the others any share of the grid up to a tenth."""
    up_to = SHARES[(SHARES > 0.01) & (SHARES <= 0.1)]
    share = np.concatenate([np.zeros(700), rng.choice(SHARES[SHARES <= 0.1], 300)])
    learnt = learn_shares(histories(rng, share, (400,))[-1], RATIO, MOST)
    assert abs(learnt[np.isin(SHARES, up_to)].sum() - np.isin(share, up_to).mean()) < 0.03
    assert learnt[SHARES > 0.15].sum() < 0.03
    assert (np.diff(learnt) <= 0).all()
    assert abs(learnt.sum() - 1) < 1e-9


def test_one_look_alike_among_few_does_not_hide_pure_campaigns(rng: np.random.Generator) -> None:
    """Honest accounts at a share that no teaching account has must not outweigh it."""
    few = np.repeat([0.0, 0.05, 1.0], [60, 9, 1])
    learnt = learn_shares(histories(rng, few, (100,))[-1], RATIO, MOST)
    honest = log10_bayes_factor(histories(rng, np.full(500, 0.25), (100,))[-1], RATIO, learnt, MOST)
    pure = log10_bayes_factor(histories(rng, np.ones(500), (100,))[-1], RATIO, learnt, MOST)
    assert np.median(pure) > np.quantile(honest, 0.99)


def test_supremum_over_looks_keeps_its_promise(rng: np.random.Generator) -> None:
    """Ville: honest accounts exceed 1/p at any look with chance at most p; false-fail rate 1e-6."""
    learnt = learn_shares(histories(rng, honest_shares(rng, 20_000), (200,))[-1], RATIO, MOST)
    looks = histories(rng, honest_shares(rng, 4_000), (10, 15, 20, 30, 40, 60, 80, 120, 160))
    largest = np.max([log10_bayes_factor(bins, RATIO, learnt, MOST) for bins in looks], axis=0)
    for p in (0.1, 0.03):
        assert_rate_at_most(int((largest > -np.log10(p)).sum()), len(largest), p)
        assert_detectable(len(largest), p, broken_rate=2 * p)


def test_diluted_extraction_stands_out(rng: np.random.Generator) -> None:
    learnt = learn_shares(histories(rng, np.zeros(2_000), (200,))[-1], RATIO, MOST)
    attack = log10_bayes_factor(histories(rng, np.full(500, 0.1), (200,))[-1], RATIO, learnt, MOST)
    assert (attack > 2).mean() > 0.9


def test_scores_do_not_depend_on_who_else_is_scored(rng: np.random.Generator) -> None:
    bins = histories(rng, honest_shares(rng, 50), (40,))[-1]
    learnt = learn_shares(bins, RATIO, MOST)
    one_by_one = np.concatenate([log10_bayes_factor(row[None, :], RATIO, learnt, MOST) for row in bins])
    assert (one_by_one == log10_bayes_factor(bins, RATIO, learnt, MOST)).all()
    assert log_likelihood(bins, RATIO, MOST)[:, 0].max() == 0


def test_ordinary_part_weighs_accounts_alike() -> None:
    part = ordinary_part(np.array([[1000.0, 0.0], [0.0, 10.0]]))
    assert abs(part[0] - 0.5) < 0.01
    assert abs(part.sum() - 1) < 1e-9


def test_long_histories_count_for_no_more_than_the_limit(rng: np.random.Generator) -> None:
    learnt = learn_shares(histories(rng, honest_shares(rng, 500), (100,))[-1], RATIO, 100)
    once = histories(rng, np.full(20, 0.2), (100,))[-1]
    assert np.allclose(
        log10_bayes_factor(50 * once, RATIO, learnt, 100), log10_bayes_factor(once, RATIO, learnt, 100)
    )
