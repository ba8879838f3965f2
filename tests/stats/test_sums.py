"""Exact sums and family-wise adjustment against their definitions."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom

from kdguard.stats.multiplicity import holm
from kdguard.stats.sums import P_FLOOR, Term, sum_null


@st.composite
def terms(draw: st.DrawFn) -> Term:
    weights = draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    values = draw(st.lists(st.integers(-5, 9), min_size=len(weights), max_size=len(weights)))
    return Term(tuple(values), tuple(weight / sum(weights) for weight in weights))


@given(st.lists(terms(), min_size=1, max_size=5), st.integers(-30, 50))
@settings(deadline=None)
def test_the_tail_is_the_enumerated_one(parts: list[Term], observed: int) -> None:
    outcomes = itertools.product(*(zip(part.values, part.chances, strict=True) for part in parts))
    exact = sum(
        math.prod(chance for _, chance in outcome)
        for outcome in outcomes
        if sum(value for value, _ in outcome) >= observed
    )
    assert sum_null(parts).p_values(observed) == pytest.approx(max(exact, P_FLOOR), rel=1e-9)


@pytest.mark.parametrize("hits", [0, 1, 90, 150, 200])
def test_the_far_tail_keeps_its_precision(hits: int) -> None:
    null = sum_null([Term((0, 1), (0.97, 0.03))] * 200)
    assert null.p_values(hits) == pytest.approx(max(binom.sf(hits - 1, 200, 0.03), P_FLOOR), rel=1e-9)


def test_beyond_doubles_p_is_a_bound() -> None:
    null = sum_null([Term((0, 1), (0.999, 0.001))] * 300)
    assert null.p_values([300, 301]).tolist() == [P_FLOOR, P_FLOOR]


def test_nothing_is_certain() -> None:
    assert sum_null([]).p_values([0, 1]).tolist() == [1.0, P_FLOOR]


def test_chances_must_add_up() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        sum_null([Term((0, 1), (0.5, 0.4))])


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="at least the 2"):
        holm([0.1, 0.2], 1)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.data())
def test_showing_fewer_claims_never_helps(p_values: list[float], data: st.DataObject) -> None:
    shown = data.draw(st.sets(st.integers(0, len(p_values) - 1), min_size=1).map(sorted))
    everything = holm(p_values)[shown]
    assert np.all(holm(np.array(p_values)[shown], len(p_values)) >= everything - 1e-12)
