"""Limits, bounds and vocabularies of the dense divergences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdguard.distill.objectives import (
    adaptive_kl,
    cross_entropy,
    forward_kl,
    hinton,
    jensen_shannon,
    reverse_kl,
    shared_vocabulary,
    skewed_kl,
    skewed_reverse_kl,
    standardised,
    total_variation,
)
from kdguard.errors import InputError
from tests.distill.objectives import reference
from tests.distill.objectives.columns import batch

DENSE = (forward_kl, jensen_shannon, skewed_kl, skewed_reverse_kl, adaptive_kl, total_variation, reverse_kl)
each_dense = pytest.mark.parametrize("divergence", DENSE, ids=lambda function: str(function.__name__))


def pair(seed: int, n: int = 4, v: int = 7) -> tuple[Tensor, Tensor]:
    logits, columns = batch(n, v, 1, seed)
    return logits, columns["teacher_logits"]


@each_dense
@settings(max_examples=10, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20), shift=st.floats(-50, 50))
def test_zero_at_the_teacher_and_above_elsewhere(
    divergence: Callable[..., Tensor], seed: int, shift: float
) -> None:
    logits, teacher = pair(seed)
    torch.testing.assert_close(
        divergence(teacher + shift, teacher), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-10
    )
    assert (divergence(logits, teacher) > 0).all()


def test_jensen_shannon_at_its_ends_and_near_them() -> None:
    logits, teacher = pair(0)
    assert torch.equal(jensen_shannon(logits, teacher, beta=0.0), forward_kl(logits, teacher))
    assert torch.equal(jensen_shannon(logits, teacher, beta=1.0), reverse_kl(logits, teacher))
    near = 1e-6
    torch.testing.assert_close(
        jensen_shannon(logits, teacher, near) / near, forward_kl(logits, teacher), rtol=1e-3, atol=0
    )
    torch.testing.assert_close(
        jensen_shannon(logits, teacher, 1 - near) / near, reverse_kl(logits, teacher), rtol=1e-3, atol=0
    )
    assert (jensen_shannon(logits * 1e3, -teacher * 1e3, 0.5) <= math.log(2) + 1e-12).all()


def test_skewed_divergences_at_their_ends() -> None:
    logits, teacher = pair(1)
    zero = torch.zeros(4, dtype=torch.float64)
    torch.testing.assert_close(skewed_kl(logits, teacher, 0.0), forward_kl(logits, teacher))
    torch.testing.assert_close(skewed_kl(logits, teacher, 1.0), zero)
    torch.testing.assert_close(skewed_reverse_kl(logits, teacher, 0.0), reverse_kl(logits, teacher))
    torch.testing.assert_close(skewed_reverse_kl(logits, teacher, 1.0), zero)
    assert (skewed_kl(-teacher * 1e3, teacher * 1e3, 0.1) <= -math.log(0.1) + 1e-12).all()


def test_adaptive_kl_holds_its_weights_fixed() -> None:
    logits, teacher = pair(2)
    grads = []
    for divergence in (adaptive_kl, forward_kl, reverse_kl):
        leaf = logits.clone().requires_grad_()
        torch.autograd.backward(divergence(leaf, teacher).sum())
        assert leaf.grad is not None
        grads.append(leaf.grad)
    share = torch.tensor(reference.rows(reference.adaptive_share)(logits.numpy(), teacher.numpy())).unsqueeze(
        -1
    )
    torch.testing.assert_close(grads[0], share * grads[1] + (1 - share) * grads[2])


def test_total_variation_of_disjoint_distributions_is_one() -> None:
    logits = torch.tensor([[0.0, -1e4]])
    assert total_variation(logits, logits.flip(-1)).item() == 1


def test_temperature_keeps_gradients_of_one_size_and_ends_in_centred_logits() -> None:
    logits, teacher = pair(3)
    gap = logits - teacher
    centred = gap - gap.mean(dim=-1, keepdim=True)
    torch.testing.assert_close(
        forward_kl(logits, teacher, 1e4), centred.square().mean(dim=-1) / 2, rtol=1e-2, atol=1e-4
    )


def test_hinton_at_both_weights() -> None:
    logits, teacher = pair(4)
    targets = torch.tensor([0, 1, 2, 3])
    torch.testing.assert_close(hinton(logits, teacher, targets, 2.0, 0.0), cross_entropy(logits, targets))
    torch.testing.assert_close(hinton(logits, teacher, targets, 2.0, 1.0), forward_kl(logits, teacher, 2.0))


def test_standardised_logits_have_mean_zero_and_deviation_one() -> None:
    logits = standardised(pair(5)[0] * 37 + 11)
    torch.testing.assert_close(logits.mean(dim=-1), torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(logits.std(dim=-1, correction=0), torch.ones(4, dtype=torch.float64))
    flat = torch.ones(1, 5, requires_grad=True)
    torch.autograd.backward(standardised(flat).sum())
    assert torch.equal(standardised(flat), torch.zeros(1, 5))
    assert flat.grad is not None
    assert flat.grad.isfinite().all()


def test_standardised_gradient() -> None:
    assert torch.autograd.gradcheck(standardised, pair(6)[0].requires_grad_())


@each_dense
def test_a_padded_vocabulary_is_cut_and_not_silently(divergence: Callable[..., Tensor]) -> None:
    """A teacher whose table has never-used entries behind the last token (and a student with some of its own)."""
    logits, teacher = pair(7)
    rest = torch.full((4, 3), 5.0, dtype=torch.float64)
    mine = torch.cat([logits, rest[:, :1]], dim=-1).requires_grad_()
    theirs = torch.cat([teacher, rest], dim=-1)
    with pytest.raises(InputError, match="shared_vocabulary"):
        divergence(mine, theirs)
    losses = divergence(*shared_vocabulary(mine, theirs, size=7))
    torch.testing.assert_close(losses, divergence(logits, teacher))
    torch.autograd.backward(losses.sum())
    assert mine.grad is not None
    assert torch.equal(mine.grad[:, 7], torch.zeros(4, dtype=torch.float64))


def test_shared_vocabulary_defaults_to_the_smaller_and_refuses_more() -> None:
    mine, theirs = shared_vocabulary(torch.zeros(2, 5), torch.zeros(2, 8))
    assert mine.shape == theirs.shape == (2, 5)
    with pytest.raises(InputError, match=r"\[1, 5\].*got 6"):
        shared_vocabulary(torch.zeros(2, 5), torch.zeros(2, 8), size=6)


@pytest.mark.parametrize(
    "divergence", [forward_kl, jensen_shannon, skewed_kl, skewed_reverse_kl, total_variation]
)
def test_a_teacher_that_excludes_entries_gives_finite_losses_and_gradients(
    divergence: Callable[..., Tensor],
) -> None:
    logits, teacher = pair(8)
    leaf = logits.requires_grad_()
    teacher[:, 2] = -torch.inf
    losses = divergence(leaf, teacher)
    torch.autograd.backward(losses.sum())
    assert losses.isfinite().all()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def test_both_excluding_an_entry_gives_finite_gradients() -> None:
    logits, teacher = pair(9)
    logits[:, 2] = teacher[:, 2] = -torch.inf
    for divergence in DENSE:
        leaf = logits.clone().requires_grad_()
        torch.autograd.backward(divergence(leaf, teacher).sum())
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all(), divergence.__name__


def test_reverse_kl_is_infinite_where_the_teacher_excludes() -> None:
    logits, teacher = pair(10)
    teacher[:, 0] = -torch.inf
    assert reverse_kl(logits, teacher).isposinf().all()


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda z: forward_kl(z, z, 0.0), "'temperature' must be above 0, got 0.0"),
        (lambda z: jensen_shannon(z, z, 1.1), r"'beta' must lie in \[0, 1\], got 1.1"),
        (lambda z: skewed_kl(z, z, -0.1), "'alpha'"),
        (lambda z: adaptive_kl(z, z, float("nan")), "'head'"),
        (lambda z: hinton(z, z, torch.zeros(2, dtype=torch.long), 1.0, 2.0), "'weight'"),
    ],
)
def test_impossible_options_are_refused(call: Callable[[Tensor], Tensor], told: str) -> None:
    with pytest.raises(InputError, match=told):
        call(torch.zeros(2, 3))
