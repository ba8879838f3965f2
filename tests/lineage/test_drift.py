"""A change of model is seen, no change is not, and the false-alarm rate is the nominal one."""

from __future__ import annotations

import numpy as np

from kdguard.lineage.drift import FEWEST_PAIRS, asked_again, drift, permutation_p
from tests.lineage.made import answers


def test_a_model_that_was_changed_half_way_is_seen() -> None:
    found = drift(answers(1, habits=1, prompts=20), answers(2, habits=2, prompts=20))
    assert found.changed
    assert found.p_value is not None
    assert found.p_value <= 0.001
    assert "not one model all along" in found.reason


def test_the_same_answers_again_are_no_change() -> None:
    told = answers(1, habits=1, prompts=20)
    found = drift(told, told)
    assert found.p_value == 1.0
    assert not found.changed


def test_a_model_that_samples_anew_is_rarely_taken_for_another() -> None:
    """400 pairs of runs of one model at .05: more than 33 alarms would come up once in a thousand times."""
    alarms = 0
    for run in range(400):
        first, second = (answers(seed + run, habits=run % 7, prompts=10, words=12) for seed in (1000, 5000))
        alarms += permutation_p(first, second) <= 0.05
    assert alarms <= 33


def test_p_values_are_exact_where_all_swaps_are_gone_through() -> None:
    """Eight pairs: the p-values of all 256 swaps of the same answers are, sorted, at most nominal."""
    first, second = answers(1, 1, 8, words=12), answers(2, 2, 8, words=12)
    p_values = []
    for number in range(256):
        swapped = [
            (b, a) if number >> at & 1 else (a, b)
            for at, (a, b) in enumerate(zip(first, second, strict=True))
        ]
        p_values.append(permutation_p([a for a, _ in swapped], [b for _, b in swapped]))
    for level in (2 / 256, 0.05, 0.1, 0.5):
        assert np.mean(np.array(p_values) <= level) <= level + 1e-12


def test_two_names_are_a_change_whatever_the_answers() -> None:
    told = answers(1, habits=1, prompts=10)
    found = drift(told, told, names=["north-1", "north-1", "north-2"])
    assert found.changed
    assert found.names == ("north-1", "north-2")
    assert "called itself 'north-1', 'north-2'" in found.reason


def test_too_few_pairs_say_so() -> None:
    told = answers(1, habits=1, prompts=FEWEST_PAIRS - 1)
    found = drift(told, answers(2, habits=2, prompts=FEWEST_PAIRS - 1))
    assert found.p_value is None
    assert not found.changed
    assert "too few" in found.reason


def test_a_fifth_is_asked_again_within_bounds() -> None:
    assert [asked_again(prompts) for prompts in (5, 10, 40, 160, 700)] == [5, 10, 20, 32, 60]
