"""Tails against exact rational arithmetic."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from kdguard.detectors.watermark import tails


def _log10(chance: Fraction) -> float:
    digits = chance.numerator.bit_length() - chance.denominator.bit_length()
    scaled = chance / Fraction(2) ** digits
    return math.log10(float(scaled)) + digits * math.log10(2)


def _binomial(hits: int, trials: int, quarter: int) -> float:
    """By integers: probability quarter / 4."""
    ways = sum(
        math.comb(trials, k) * quarter**k * (4 - quarter) ** (trials - k) for k in range(hits, trials + 1)
    )
    return _log10(Fraction(ways, 4**trials))


@pytest.mark.parametrize(
    ("hits", "trials", "quarter"),
    [
        (1, 1, 1),
        (250, 1000, 1),
        (400, 1000, 1),
        (900, 1000, 1),
        (1000, 1000, 1),
        (1400, 1500, 2),
        (2900, 3000, 3),
    ],
)
def test_binomial_tail_is_exact(hits: int, trials: int, quarter: int) -> None:
    expected = _binomial(hits, trials, quarter)
    assert float(tails.binomial(hits, trials, quarter / 4)) == pytest.approx(expected, rel=1e-10)


def test_binomial_tail_beyond_the_smallest_float() -> None:
    assert float(tails.binomial(5_000, 5_000, 0.25)) == pytest.approx(5_000 * math.log10(0.25), rel=1e-12)


def test_binomial_tail_joins_where_the_methods_meet() -> None:
    """Around the change from scipy to the series no step shows: second differences stay small."""
    told = tails.binomial(np.arange(730, 820), 1_000, 0.25)
    assert told.min() < -260 < -240 < told.max()
    assert np.abs(np.diff(told, 2)).max() < 0.02


@pytest.mark.parametrize(("hits", "expected"), [(0, 0.0), (-3, 0.0), (11, -math.inf)])
def test_binomial_ends(hits: int, expected: float) -> None:
    assert float(tails.binomial(hits, 10, 0.25)) == expected


def _gamma(total: int, shape: int) -> float:
    """P(Gamma(shape) >= total) = P(Poisson(total) < shape), e^-total apart."""
    terms = sum((Fraction(total**k, math.factorial(k)) for k in range(shape)), Fraction(0))
    return _log10(terms) - total / math.log(10)


@pytest.mark.parametrize(
    ("total", "shape"), [(3, 1), (64, 64), (296, 64), (900, 64), (5_000, 64), (700, 10), (4_000, 1_000)]
)
def test_gamma_tail_is_exact(total: int, shape: int) -> None:
    assert float(tails.gamma(total, shape)) == pytest.approx(_gamma(total, shape), rel=1e-10)


def test_gamma_of_nothing_is_certain() -> None:
    assert float(tails.gamma(0.0, 0)) == 0.0


@pytest.mark.parametrize("hits", [1, 5, 8, 12, 20, 29, 30])
def test_sum_of_draws_is_the_binomial_where_draws_are_coins(hits: int) -> None:
    coins = np.array([0, 0, 0, 1])
    assert tails.sum_of_draws(coins, 30, hits) == pytest.approx(_binomial(hits, 30, 1), abs=1e-12)


def test_sum_of_draws_keeps_its_digits_where_floats_end() -> None:
    coins = np.array([0, 0, 0, 1])
    assert tails.sum_of_draws(coins, 1_000, 900) == pytest.approx(_binomial(900, 1_000, 1), rel=1e-9)


def test_sum_of_draws_ends() -> None:
    values = np.array([3, 5])
    assert tails.sum_of_draws(values, 4, 12) == 0.0
    assert tails.sum_of_draws(values, 4, 20) == pytest.approx(4 * math.log10(0.5))
    assert tails.sum_of_draws(values, 4, 21) == -math.inf
