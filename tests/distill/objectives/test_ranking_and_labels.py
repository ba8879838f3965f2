"""Ranking losses, label distillation and step-by-step: what each leaves open and where it ends."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.distill.objectives import (
    cross_entropy,
    forward_kl,
    hard_label,
    listwise,
    mean_loss,
    pairwise_hinge,
    pairwise_logistic,
    ranking_hinge,
    ranking_listwise,
    ranking_logistic,
    soft_label,
    step_by_step,
)
from kdguard.errors import InputError
from tests.distill.objectives.columns import batch


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20))
def test_only_the_teachers_order_counts(seed: int) -> None:
    logits, columns = batch(3, 8, 4, seed)
    ids, logprobs = columns["top_ids"], columns["top_logprobs"]
    for loss in (ranking_hinge, ranking_logistic, ranking_listwise):
        torch.testing.assert_close(loss(logits, ids, logprobs), loss(logits, ids, logprobs * 3))


def test_a_student_that_ties_all() -> None:
    scores, teacher = torch.zeros(1, 5), torch.tensor([[5.0, 4, 3, 2, 1]])
    assert pairwise_logistic(scores, teacher).item() == pytest.approx(math.log(2))
    assert pairwise_hinge(scores, teacher, margin=0.7).item() == pytest.approx(0.7)
    assert listwise(scores, teacher).item() == pytest.approx(math.log(math.factorial(5)) / 5)


def test_the_teachers_order_with_room_costs_nothing_and_the_reverse_costs() -> None:
    teacher = torch.tensor([[3.0, 2, 1]])
    assert pairwise_hinge(teacher, teacher, margin=1.0).item() == 0
    assert pairwise_hinge(-teacher, teacher, margin=0.0).item() == pytest.approx((1 + 1 + 2) / 3)
    assert listwise(teacher * 50, teacher).item() == pytest.approx(0, abs=1e-6)
    assert pairwise_logistic(teacher * 50, teacher).item() == pytest.approx(0, abs=1e-6)


def test_ties_of_the_teacher_make_no_pair() -> None:
    scores = torch.tensor([[1.0, -1.0]], requires_grad=True)
    loss = pairwise_hinge(scores, torch.zeros(1, 2))
    torch.autograd.backward(loss.sum())
    assert loss.item() == 0
    assert scores.grad is not None
    assert torch.equal(scores.grad, torch.zeros(1, 2))


def test_padding_of_whole_lists_is_safe() -> None:
    scores = torch.randn(2, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    teacher = torch.full((2, 3), -torch.inf)
    for loss in (pairwise_hinge, pairwise_logistic, listwise):
        losses = loss(scores, teacher)
        (grad,) = torch.autograd.grad(losses.sum(), scores)
        assert torch.equal(losses, torch.zeros(2))
        assert torch.equal(grad, torch.zeros(2, 3))


def test_labels_and_probabilities_of_a_classifier() -> None:
    logits, columns = batch(4, 6, 2, seed=1)
    teacher = columns["teacher_logits"]
    torch.testing.assert_close(
        hard_label(logits, columns["labels"]), cross_entropy(logits, columns["labels"])
    )
    probabilities = torch.softmax(teacher, dim=-1)
    for temperature in (1.0, 3.0):
        torch.testing.assert_close(
            soft_label(logits, probabilities, temperature), forward_kl(logits, teacher, temperature)
        )
    certain = torch.nn.functional.one_hot(columns["labels"], 6)
    torch.testing.assert_close(soft_label(logits, certain), hard_label(logits, columns["labels"]))


def test_probabilities_are_renormalised_and_an_empty_answer_teaches_nothing() -> None:
    logits, columns = batch(4, 6, 2, seed=2)
    printed = columns["label_probs"].clone()
    torch.testing.assert_close(soft_label(logits, printed), soft_label(logits, printed * 0.5))
    leaf = logits.requires_grad_()
    losses = soft_label(leaf, torch.zeros(4, 6))
    torch.autograd.backward(losses.sum())
    assert torch.equal(losses, torch.zeros(4, dtype=torch.float64))
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20), weight=st.floats(0, 3), cut=st.integers(0, 7))
def test_step_by_step_is_the_sum_of_both_means_in_one_batch_or_two(
    seed: int, weight: float, cut: int
) -> None:
    logits, columns = batch(7, 5, 2, seed)
    targets, rationale = columns["target_ids"], columns["is_rationale"]
    counts = int((~rationale).sum()), int(rationale.sum())
    plain = cross_entropy(logits, targets)
    expected = mean_loss(plain[~rationale], counts[0]) + weight * mean_loss(plain[rationale], counts[1])
    parts = [
        mean_loss(step_by_step(logits[some], targets[some], rationale[some], weight, *counts), 7)
        for some in (slice(0, cut), slice(cut, None))
    ]
    torch.testing.assert_close(parts[0] + parts[1], expected)


def test_step_by_step_refuses_half_a_count_and_negative_weights() -> None:
    logits, columns = batch(2, 5, 2, seed=3)
    args = (logits, columns["target_ids"], columns["is_rationale"])
    with pytest.raises(InputError, match="together"):
        step_by_step(*args, label_count=3)
    with pytest.raises(InputError, match=r"at least 0, got -1"):
        step_by_step(*args, rationale_weight=-1)
