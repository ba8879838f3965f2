from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.errors import AttackError
from kdguard.simulate.attack.selection.boundary_distance import boundary_distance
from kdguard.simulate.attack.selection.disagreement import jensen_shannon
from kdguard.simulate.attack.selection.embeddings import embed
from kdguard.simulate.attack.selection.hard_samples import discriminate, next_prompts
from kdguard.simulate.attack.selection.k_centre import k_centre, radius
from kdguard.simulate.attack.selection.relevance import cluster_middles, relevant_and_diverse
from kdguard.simulate.attack.selection.uncertainty import SCORES, entropy, largest, least_confidence, margin


def _probabilities(rng: np.random.Generator, n: int, classes: int) -> np.ndarray:
    return rng.dirichlet(np.ones(classes), size=n)


def test_scores_at_the_two_ends() -> None:
    sure, unsure = np.array([[1.0, 0, 0, 0]]), np.full((1, 4), 0.25)
    assert [score(sure)[0] for score in SCORES.values()] == [0, 0, 0]
    assert entropy(unsure)[0] == pytest.approx(np.log(4))
    assert margin(unsure)[0] == pytest.approx(1)
    assert least_confidence(unsure)[0] == pytest.approx(0.75)


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_scores_do_not_depend_on_the_order_of_classes(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p = _probabilities(rng, 7, 5)
    for score in SCORES.values():
        np.testing.assert_allclose(score(p[:, rng.permutation(5)]), score(p), atol=1e-12)


def test_largest_is_stable_and_bounded() -> None:
    assert largest(np.array([0.5, 0.9, 0.5, 0.1]), 3).tolist() == [1, 0, 2]
    with pytest.raises(AttackError, match="from 0 to the 2 candidates"):
        largest(np.array([0.1, 0.2]), 3)


def test_rows_that_are_no_distribution_are_refused() -> None:
    with pytest.raises(AttackError, match="sum to 1"):
        entropy(np.array([[0.5, 0.9]]))
    with pytest.raises(AttackError, match="shape"):
        entropy(np.array([0.5, 0.5]))


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_jensen_shannon_is_a_bounded_symmetric_divergence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    p, q = _probabilities(rng, 6, 4), _probabilities(rng, 6, 4)
    found = jensen_shannon(p, q)
    np.testing.assert_allclose(found, jensen_shannon(q, p), atol=1e-12)
    assert (found > 0).all()
    assert (found <= np.log(2)).all()
    assert jensen_shannon(p, p) == pytest.approx(np.zeros(6), abs=1e-12)
    assert jensen_shannon(np.eye(2), np.eye(2)[::-1]) == pytest.approx([np.log(2)] * 2)


@given(st.integers(0, 10_000), st.integers(1, 6))
@settings(max_examples=25, deadline=None)
def test_k_centre_is_within_twice_the_best_radius(seed: int, count: int) -> None:
    points = np.random.default_rng(seed).normal(size=(30, 3))
    found = k_centre(points, count)
    assert len(set(found.tolist())) == count
    # Gonzalez: with one more centre, all centres are at least the radius apart, so no k sets do better than half.
    more = points[k_centre(points, count + 1)]
    gaps = np.linalg.norm(more[:, None] - more[None], axis=2)
    assert gaps[np.triu_indices(count + 1, 1)].min() >= radius(points, found) - 1e-9


def test_k_centre_covers_separate_clusters_and_knows_what_was_asked(rng: np.random.Generator) -> None:
    centres = np.eye(5) * 100
    points = np.repeat(centres, 20, axis=0) + rng.normal(size=(100, 5))
    assert {place // 20 for place in k_centre(points, 5).tolist()} == set(range(5))
    assert {place // 20 for place in k_centre(points, 2, chosen=points[:60]).tolist()} == {3, 4}


def test_k_centre_chooses_duplicates_only_once() -> None:
    assert sorted(k_centre(np.zeros((4, 2)), 4).tolist()) == [0, 1, 2, 3]
    assert k_centre(np.zeros((4, 2)), 0).tolist() == []


def test_relevance_keeps_the_task_and_one_a_cluster() -> None:
    task = ["book a flight to Rome", "cancel my hotel booking"]
    travel = [
        f"book a flight to {city} on {day}"
        for city in ("Oslo", "Lima", "Bonn")
        for day in ("Monday", "Friday")
    ]
    noise = [f"integrate x to the power of {k} over the unit disc" for k in range(6)]
    found = relevant_and_diverse(noise + travel, task, 3, keep=0.5)
    assert len(found) == 3
    assert (found >= 6).all()
    middles = cluster_middles(np.repeat(np.eye(3), 5, axis=0), 3)
    assert sorted((middles // 5).tolist()) == [0, 1, 2]
    np.testing.assert_array_equal(found, relevant_and_diverse(noise + travel, task, 3, keep=0.5))


def test_embeddings_put_like_texts_together() -> None:
    vectors = embed(
        ["the cat sat on the mat", "the cat sat on a mat", "SELECT id FROM orders WHERE price > 3", ""]
    )
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.3
    np.testing.assert_allclose(np.linalg.norm(vectors[:3], axis=1), 1)


def test_boundary_distance_is_exact_for_a_linear_student() -> None:
    layer = torch.nn.Linear(4, 3)
    inputs = torch.randn(8, 4, generator=torch.Generator().manual_seed(0))
    found = boundary_distance(layer, inputs)
    logits, weight = layer(inputs).detach(), layer.weight.detach()
    for i in range(8):
        y = int(logits[i].argmax())
        others = [k for k in range(3) if k != y]
        expected = min(float((logits[i, y] - logits[i, k]) / (weight[y] - weight[k]).norm()) for k in others)
        assert float(found[i]) == pytest.approx(expected, rel=1e-5)


def test_parting_and_refilling() -> None:
    split = discriminate(np.array([1.0, 1.0, 0.5]), np.array([0.2, 0.9, 0.5]), 0.5)
    assert split.hard.tolist() == [0]
    assert split.easy.tolist() == [1, 2]
    assert next_prompts([], ["e"], 3, 0.9) == ["e"] * 3
    assert next_prompts(["h"], [], 2, 0.1) == ["h"] * 2
    with pytest.raises(AttackError, match="no prompts"):
        next_prompts([], [], 2, 0.5)
    with pytest.raises(AttackError, match="one score a prompt"):
        discriminate(np.zeros(2), np.zeros(3), 0.5)
