from __future__ import annotations

import numpy as np
import pytest
from datasketches import hll_sketch

from kdguard.features.text import mix
from kdguard.stats.sketches import ams_counters, collision_rate, hll_estimate, hll_registers


@pytest.mark.parametrize("distinct", [1, 5, 30, 150, 2_000, 50_000])
def test_distinct_counts_agree_with_the_truth_and_with_datasketches(distinct: int) -> None:
    """Error of 64 registers is 13 %; four deviations are allowed. The library's own lg_k = 6 sketch gets the same."""
    codes = mix(np.arange(1, distinct + 1, dtype=np.uint64))
    registers = np.maximum.reduce(hll_registers(np.concatenate([codes, codes[: distinct // 2]])), axis=0)
    ours = hll_estimate(registers[None, :])[0]
    library = hll_sketch(6)
    for code in codes:
        library.update(int(code))
    assert ours == pytest.approx(distinct, rel=0.52, abs=1)
    assert library.get_estimate() == pytest.approx(distinct, rel=0.52, abs=1)


def test_absent_codes_add_nothing() -> None:
    none = np.zeros(4, np.uint64)
    assert not hll_registers(none).any()
    assert not ams_counters(none).any()


def test_estimates_are_unbiased_over_many_hashes(rng: np.random.Generator) -> None:
    codes = mix(rng.integers(1, 2**63, (400, 100)).astype(np.uint64))
    estimates = [hll_estimate(np.maximum.reduce(hll_registers(row), axis=0)[None, :])[0] for row in codes]
    assert np.mean(estimates) == pytest.approx(100, rel=0.03)


def test_collision_rate_of_known_mixes(rng: np.random.Generator) -> None:
    """Three frames used 50/30/20 times: the chance that two requests share one is 0.374, averaged over hashes."""
    expected = (50 * 49 + 30 * 29 + 20 * 19) / (100 * 99)
    rates = []
    for _ in range(400):
        frames = rng.integers(1, 2**63, 3).astype(np.uint64)
        counters = ams_counters(mix(np.repeat(frames, [50, 30, 20]))).sum(axis=0)
        rates.append(collision_rate(counters[None, :], np.array([100]))[0])
    assert np.mean(rates) == pytest.approx(expected, abs=4 * np.std(rates) / 20)
    assert np.isnan(collision_rate(np.zeros((1, 32)), np.array([1]))[0])
