"""Tails of weighted sums against exact ones and against simulation."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from kdguard.detectors.watermark import tails
from kdguard.detectors.watermark.radioactivity.laws import Coins, Exponential, law_of, tail_of
from kdguard.detectors.watermark.schemes.registry import make_scheme
from kdguard.errors import WatermarkError


@pytest.mark.parametrize("hits", [240, 260, 300, 400, 600])
def test_equal_weights_give_the_binomial(hits: int) -> None:
    """Half a hit of continuity correction; the saddlepoint is right to 0.1 %."""
    found = tail_of(Coins(1, 0.25), np.ones(1_000), hits - 250 - 0.5)
    exact = float(tails.binomial(hits, 1_000, 0.25))
    assert found.log10_p == pytest.approx(exact, rel=2e-3, abs=2e-3)


@pytest.mark.parametrize("total", [40, 65, 100, 300, 3_000])
def test_equal_weights_give_the_gamma(total: float) -> None:
    found = tail_of(Exponential(), np.ones(64), total - 64)
    exact = float(tails.gamma(total, 64))
    assert found.log10_p == pytest.approx(exact, rel=1e-3)
    assert found.log10_bound >= exact


def test_the_bound_is_one() -> None:
    for hits in (260, 300, 400):
        exact = float(tails.binomial(hits, 1_000, 0.25))
        assert exact <= tail_of(Coins(1, 0.25), np.ones(1_000), hits - 250).log10_bound <= 0


@pytest.mark.parametrize("law", [Coins(1, 0.25), Coins(32, 0.5), Exponential()])
def test_p_is_uniform_with_weights_of_either_sign(law: Coins | Exponential, rng: np.random.Generator) -> None:
    """500 draws; KS at 1e-6."""
    weights = rng.normal(size=400) * rng.lognormal(size=400)
    shape = (500, len(weights))
    scores = (
        rng.binomial(law.flips, law.probability, shape) - law.flips * law.probability
        if isinstance(law, Coins)
        else rng.exponential(size=shape) - 1
    )
    told = [10.0 ** tail_of(law, weights, float(total)).log10_p for total in scores @ weights]
    assert kstest(told, "uniform").pvalue > 1e-6


def test_ends() -> None:
    law = Coins(1, 0.25)
    assert tail_of(law, np.zeros(3), 0.0).log10_p == 0.0
    assert tail_of(law, np.ones(10), 0.0).log10_p == pytest.approx(np.log10(0.5), abs=0.05)
    impossible = tail_of(law, np.ones(10), 50.0)
    assert impossible.log10_p <= float(tails.binomial(10, 10, 0.25))
    assert tail_of(Exponential(), -np.ones(5), 4.0).log10_p < -1


def test_a_mark_without_independent_pairs_is_refused() -> None:
    with pytest.raises(WatermarkError, match="not independent"):
        law_of(make_scheme("synthid-table"))
    assert law_of(make_scheme("synthid-philox")) == Coins(32, 0.5)
