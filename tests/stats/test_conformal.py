from __future__ import annotations

import numpy as np
import pytest

from kdguard.stats.conformal import conformal_p, p_floor, references_needed
from tests.rates import assert_detectable, assert_rate_at_most


def test_ranks_count_ties_against_the_subject() -> None:
    p = conformal_p(np.array([3.0, 5.0, 0.0, np.nan]), np.array([1.0, 3.0, 4.0]))
    assert p[:3].tolist() == [0.75, 0.25, 1.0]
    assert np.isnan(p[3])


@pytest.mark.parametrize(("alpha", "needed"), [(0.01, 99), (0.005, 199), (0.003, 333), (0.5, 1)])
def test_references_needed_is_exact(alpha: float, needed: int) -> None:
    assert references_needed(alpha) == needed
    assert p_floor(needed) <= alpha * (1 + 1e-9)
    assert p_floor(needed - 1) > alpha


def test_false_alarms_of_exchangeable_scores(rng: np.random.Generator) -> None:
    """One account against fresh references, 20,000 times: false-fail rate 1e-6."""
    trials, references, alpha = 20_000, 99, 0.01
    draws = rng.standard_cauchy((trials, references + 1))
    at_least = (draws[:, 1:] >= draws[:, :1]).sum(axis=1)
    hits = int(np.sum((1 + at_least) / (references + 1) <= alpha))
    one = conformal_p(draws[0, :1], draws[0, 1:])
    assert one[0] == (1 + at_least[0]) / (references + 1)
    assert_rate_at_most(hits, trials, alpha)
    assert_detectable(trials, alpha, broken_rate=0.02)
