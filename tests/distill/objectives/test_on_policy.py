"""The student writes: on-policy, speculative and adversarial distillation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from kdguard.distill.objectives import (
    discriminator_loss,
    forward_kl,
    gkd,
    group_advantages,
    interleave,
    interleave_block,
    policy_gradient,
    propose,
    reference_penalty,
    reverse_kl,
    student_writes,
)
from kdguard.errors import InputError

FALSE_FAIL = 1e-6


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_gkd_between_forward_and_reverse() -> None:
    student, teacher = torch.randn((2, 5, 6), generator=seeded(0), dtype=torch.float64)
    assert torch.equal(gkd(student, teacher, beta=0.0), forward_kl(student, teacher))
    assert torch.equal(gkd(student, teacher, beta=1.0), reverse_kl(student, teacher))


def test_the_share_of_sequences_the_student_writes() -> None:
    """False fails with chance 1e-6."""
    assert not student_writes(100, 0.0, seeded(1)).any()
    assert student_writes(100, 1.0, seeded(1)).all()
    hits = int(student_writes(20_000, 0.3, seeded(1)).sum())
    assert stats.binomtest(hits, 20_000, 0.3).pvalue > FALSE_FAIL
    with pytest.raises(InputError, match="'share'"):
        student_writes(1, 1.5, seeded(1))


@pytest.mark.parametrize("top_k", [0, 2, 3, 6])
def test_interleaved_text_has_the_distribution_of_the_rule(top_k: int) -> None:
    """P(x) = q(x) [x in top k] + q(outside) p(x); false fails with chance 1e-6."""
    draws, v = 20_000, 6
    student, teacher = torch.randn((2, v), generator=seeded(2))
    q, p = torch.softmax(student, dim=-1), torch.softmax(teacher, dim=-1)
    generator = seeded(3)
    proposed = propose(student.expand(draws, v), generator)
    found = interleave(proposed, teacher.expand(draws, v), top_k, generator)
    inside = torch.zeros(v).index_fill(0, p.topk(top_k).indices, 1.0)
    expected = (q * inside + (q * (1 - inside)).sum() * p).double().numpy()
    observed = found.token_ids.bincount(minlength=v).numpy()
    assert stats.chisquare(observed, expected / expected.sum() * draws).pvalue > FALSE_FAIL
    assert torch.equal(found.accepted, inside.bool()[proposed])
    assert torch.equal(found.token_ids[found.accepted], proposed[found.accepted])


def test_everything_or_nothing_is_accepted() -> None:
    teacher = torch.randn((50, 6), generator=seeded(4))
    proposed = torch.randint(6, (50,), generator=seeded(5))
    assert torch.equal(interleave(proposed, teacher, 6, seeded(6)).token_ids, proposed)
    nothing = interleave(proposed, teacher, 0, seeded(6))
    assert not nothing.accepted.any()
    assert torch.equal(nothing.token_ids, propose(teacher, seeded(6)))
    with pytest.raises(InputError, match=r"'top_k' must lie in \[0, 6\], got 7"):
        interleave(proposed, teacher, 7, seeded(6))


def test_a_tie_with_the_last_listed_entry_is_accepted() -> None:
    teacher = torch.tensor([[3.0, 1.0, 1.0, 0.0]])
    accepted = [bool(interleave(torch.tensor([i]), teacher, 2, seeded(7)).accepted) for i in range(4)]
    assert accepted == [True, True, True, False]


def test_a_block_stands_up_to_its_first_replacement() -> None:
    best = torch.tensor([[1, 2, 3, 0], [1, 2, 3, 0], [1, 2, 3, 0]])
    teacher = torch.nn.functional.one_hot(best, 4) * 1e4
    proposed = torch.tensor([[1, 2, 3, 0], [1, 0, 3, 0], [0, 2, 3, 0]])
    block = interleave_block(proposed, teacher.float(), 1, seeded(8))
    assert block.kept.tolist() == [4, 2, 1]
    for row, kept in zip(block.token_ids, block.kept, strict=True):
        assert torch.equal(row[:kept], best[0, :kept])


def test_the_discriminator_loss_and_its_gradient() -> None:
    teacher = torch.tensor([2.0, -1.0, 0.3], dtype=torch.float64, requires_grad=True)
    student = torch.tensor([1.0, 4.0, 0.3], dtype=torch.float64, requires_grad=True)
    expected = [-math.log(1 / (1 + math.exp(-gap))) for gap in (1.0, -5.0, 0.0)]
    np.testing.assert_allclose(discriminator_loss(teacher, student).detach().numpy(), expected)
    assert torch.autograd.gradcheck(discriminator_loss, (teacher, student))
    torch.testing.assert_close(
        discriminator_loss(teacher + 7, student + 7), discriminator_loss(teacher, student)
    )
    far = discriminator_loss(torch.tensor([-1e4, 1e4]), torch.tensor([1e4, -1e4]))
    assert far.tolist() == [2e4, 0]


def test_advantages_are_rewards_standardised_within_a_group() -> None:
    rewards = torch.tensor([[1.0, 2, 3, 6], [5, 5, 5, 5], [1e4, -1e4, 1e4, -1e4]], dtype=torch.float64)
    found = group_advantages(rewards.requires_grad_())
    row = np.array([1, 2, 3, 6.0])
    np.testing.assert_allclose(found[0], (row - row.mean()) / row.std(), rtol=1e-5)
    assert torch.equal(found[1], torch.zeros(4, dtype=torch.float64))
    assert not found.requires_grad
    with pytest.raises(InputError, match="at least 2 responses"):
        group_advantages(rewards[:, :1])


def test_the_policy_gradient_is_unbiased_for_the_gradient_of_the_expected_reward() -> None:
    """Exact expectation over all tokens: sum q(x) grad(loss(x)) = -grad(sum q(x) r(x))."""
    logits = torch.randn(5, generator=seeded(9), dtype=torch.float64).requires_grad_()
    rewards = torch.randn(5, generator=seeded(10), dtype=torch.float64)
    (wanted,) = torch.autograd.grad((torch.softmax(logits, dim=-1) * rewards).sum(), logits)
    chances = torch.softmax(logits, dim=-1).detach()
    losses = policy_gradient(torch.log_softmax(logits, dim=-1), rewards)
    (found,) = torch.autograd.grad((chances * losses).sum(), logits)
    torch.testing.assert_close(found, -wanted)


def test_clipping_follows_ppo() -> None:
    old = torch.zeros(4)
    new = torch.tensor([0.5, 0.5, -0.5, -0.5], requires_grad=True)
    advantages = torch.tensor([1.0, -1.0, 1.0, -1.0])
    losses = policy_gradient(new, advantages, old, clip=0.2)
    expected = [-1.2, math.exp(0.5), -math.exp(-0.5), 0.8]
    torch.testing.assert_close(losses, torch.tensor(expected))
    torch.autograd.backward(losses.sum())
    assert new.grad is not None
    assert [grad != 0 for grad in new.grad.tolist()] == [False, True, True, False]


@pytest.mark.parametrize("loss", ["policy", "penalty"])
def test_far_apart_policies_stay_finite(loss: str) -> None:
    new = torch.tensor([-1e4, 0.0, -1e4, 0.0], requires_grad=True)
    old = torch.tensor([0.0, -1e4, 0.0, -1e4])
    advantages = torch.tensor([1.0, 1.0, -1.0, -1.0])
    losses = policy_gradient(new, advantages, old) if loss == "policy" else reference_penalty(new, old)
    torch.autograd.backward(losses.sum())
    assert losses.isfinite().all()
    assert new.grad is not None
    assert new.grad.isfinite().all()


def test_the_reference_penalty_has_the_kl_as_its_mean() -> None:
    """Exact expectation over all tokens."""
    student, reference = torch.log_softmax(
        torch.randn((2, 6), generator=seeded(11), dtype=torch.float64), dim=-1
    )
    each = reference_penalty(student, reference)
    assert (each >= 0).all()
    torch.testing.assert_close((student.exp() * each).sum(), (student.exp() * (student - reference)).sum())


def test_empty_batches() -> None:
    nothing: Tensor = torch.zeros(0)
    assert discriminator_loss(nothing, nothing).shape == (0,)
    assert policy_gradient(nothing, nothing).shape == (0,)
    assert interleave(nothing.long(), torch.zeros(0, 4), 2, seeded(12)).token_ids.shape == (0,)
