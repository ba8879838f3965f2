"""Layer maps and projections."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdguard.distill.whitebox.layers import explicit_map, last_map, uniform_map
from kdguard.distill.whitebox.projections import Projections
from kdguard.errors import InputError


def test_maps_of_the_papers() -> None:
    assert uniform_map(4, 12).pairs == ((1, 3), (2, 6), (3, 9), (4, 12))
    assert uniform_map(6, 12).pairs == ((1, 2), (2, 4), (3, 6), (4, 8), (5, 10), (6, 12))
    assert last_map(3, 12).pairs == ((1, 10), (2, 11), (3, 12))
    assert uniform_map(2, 3).pairs == ((1, 2), (2, 3))


@given(student=st.integers(1, 30), more=st.integers(0, 30))
def test_generated_maps_are_valid_and_end_at_both_tops(student: int, more: int) -> None:
    for found in (uniform_map(student, student + more), last_map(student, student + more)):
        assert len(found.pairs) == student
        assert found.pairs[-1] == (student, student + more)
        assert [mine for mine, _ in found.pairs] == list(range(1, student + 1))
        assert len({theirs for _, theirs in found.pairs}) == student


def test_a_map_by_hand() -> None:
    found = explicit_map(6, 4, [(2, 1), (4, 1), (6, 4)])
    assert found.pairs == ((2, 1), (4, 1), (6, 4))


@pytest.mark.parametrize(
    ("pairs", "told"),
    [
        ([], "at least one pair"),
        ([(0, 1)], r"counted from 1 to 2 .*\(0, 1\)"),
        ([(1, 5)], r"and 4 \(teacher\), got the pair \(1, 5\)"),
        ([(3, 1)], r"\(3, 1\)"),
        ([(1, 2), (1, 3)], "must rise"),
        ([(2, 2), (1, 3)], "must rise"),
        ([(1, 3), (2, 2)], "must not fall"),
    ],
)
def test_impossible_maps_are_refused(pairs: list[tuple[int, int]], told: str) -> None:
    with pytest.raises(InputError, match=told):
        explicit_map(2, 4, pairs)


@pytest.mark.parametrize(("student", "teacher"), [(0, 3), (4, 3)])
def test_a_deeper_student_needs_a_map_by_hand(student: int, teacher: int) -> None:
    for make in (uniform_map, last_map):
        with pytest.raises(InputError, match="explicit_map"):
            make(student, teacher)


def test_projections_are_repeatable_learnt_and_counted() -> None:
    made = [Projections(4, 6, 2, torch.Generator().manual_seed(0)) for _ in range(2)]
    assert torch.equal(made[0].weights, made[1].weights)
    assert made[0].of(2).shape == (4, 6)
    assert made[0].of(0).requires_grad
    assert not torch.equal(made[0].of(0), made[0].of(1))
    shared = Projections(4, 6, 2, torch.Generator().manual_seed(0), shared=True)
    assert torch.equal(shared.of(0), shared.of(2))
    for projections in (made[0], shared):
        with pytest.raises(InputError, match="for 2 pairs of layers, asked for pair 3"):
            projections.of(3)
    with pytest.raises(InputError, match="at least 1"):
        Projections(0, 6, 2, torch.Generator())
