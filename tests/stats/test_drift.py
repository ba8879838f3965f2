"""The test of drift: silent on the same people and on what is tolerated, and not on more."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from kdguard.stats.drift import TOLERANCE, any_drift, bulk_drift_p
from tests.rates import assert_rate_at_most


def _moved_by(distance: float) -> float:
    """Shift of a standard normal whose bulk below 1.28 moves so far in Kolmogorov-Smirnov distance."""
    grid = np.linspace(-4, norm.ppf(0.9), 2_000)

    def moved(shift: float) -> float:
        cut = grid[-1]
        was, now = norm.cdf(grid) / norm.cdf(cut), norm.cdf(grid - shift) / norm.cdf(cut - shift)
        return float(np.abs(was - now).max())

    shifts = np.linspace(0, 2, 2_001)
    return float(shifts[np.searchsorted([moved(shift) for shift in shifts], distance)])


@pytest.mark.parametrize("distance", [0.0, 0.9 * TOLERANCE])
def test_what_is_tolerated_seldom_counts_as_drift(distance: float) -> None:
    rng, shift = np.random.default_rng(0), _moved_by(distance)
    p_values = [bulk_drift_p(rng.normal(shift, 1, 400), rng.normal(0, 1, 1_500)) for _ in range(400)]
    # False-fail rate of the check itself: see tests/rates.
    assert_rate_at_most(int(np.sum(np.array(p_values) <= 0.05)), 400, 0.05)


def test_many_owners_do_not_turn_a_tolerated_difference_into_drift() -> None:
    rng, shift = np.random.default_rng(1), _moved_by(0.8 * TOLERANCE)
    assert bulk_drift_p(rng.normal(shift, 1, 50_000), rng.normal(0, 1, 50_000)) > 0.5


@pytest.mark.parametrize(("distance", "owners"), [(0.15, 500), (0.1, 3_000)])
def test_more_than_that_is_found(distance: float, owners: int) -> None:
    rng, shift = np.random.default_rng(2), _moved_by(distance)
    found = [bulk_drift_p(rng.normal(shift, 1, owners), rng.normal(0, 1, 4_000)) <= 0.01 for _ in range(20)]
    assert np.mean(found) >= 0.9


def test_thieves_above_the_cut_neither_raise_nor_hide_it() -> None:
    rng = np.random.default_rng(3)
    references = rng.normal(0, 1, 1_000)
    for shift in (0.0, 0.8):
        scores = rng.normal(shift, 1, 400)
        with_thieves = np.concatenate([scores, np.full(200, 9.0)])
        assert bulk_drift_p(with_thieves, references) == bulk_drift_p(scores, references)


def test_too_few_owners_say_nothing() -> None:
    few, many = np.zeros(19), np.arange(100.0)
    assert bulk_drift_p(few, many) == bulk_drift_p(many, few) == 1.0


def test_any_drift_pays_for_every_kind() -> None:
    assert any_drift(np.array([0.4, 0.004]), 0.01)
    assert not any_drift(np.array([0.4, 0.006]), 0.01)
    assert not any_drift(np.array([]), 0.01)
