"""Hidden states, embeddings, attention maps, and the triple loss, against NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from kdguard.distill.objectives import cross_entropy, forward_kl
from kdguard.distill.whitebox.attention import attention_kl, attention_mse
from kdguard.distill.whitebox.features import embedding_mse, hidden_cosine, hidden_mse
from kdguard.distill.whitebox.triple import distilbert_triple
from kdguard.errors import InputError
from tests.distill.objectives import reference
from tests.distill.whitebox.owner import OWNER


def states(seed: int, mine: int = 4, theirs: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((5, mine), (5, theirs), (mine, theirs))
    student, teacher, matrix = (
        torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes
    )
    return student, teacher, matrix


def maps(seed: int, t: int = 4) -> tuple[Tensor, Tensor, Tensor]:
    """Scores of two heads and a causal mask in which the second sequence is padded by one."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn((2, 2, 2, t, t), generator=generator, dtype=torch.float64)
    keys = torch.ones(2, 1, t, t, dtype=torch.bool).tril()
    keys[1, :, :, -1] = False
    return student, teacher, keys


@pytest.mark.parametrize("loss", [hidden_mse, embedding_mse])
def test_squared_differences_behind_a_learnt_projection(loss: Callable[..., Tensor]) -> None:
    student, teacher, matrix = states(0)
    expected = [
        np.mean((h @ matrix.numpy() - g) ** 2) for h, g in zip(student.numpy(), teacher.numpy(), strict=True)
    ]
    np.testing.assert_allclose(loss(student, teacher, matrix, owner_consent=OWNER), expected)
    inputs = student.requires_grad_(), matrix.requires_grad_()
    assert torch.autograd.gradcheck(lambda h, w: loss(h, teacher, w, owner_consent=OWNER), inputs)


def test_cosine_is_of_direction_alone() -> None:
    student, teacher, matrix = states(1)
    mine = student.numpy() @ matrix.numpy()
    cosines = [
        m @ g / np.linalg.norm(m) / np.linalg.norm(g) for m, g in zip(mine, teacher.numpy(), strict=True)
    ]
    found = hidden_cosine(student, teacher, matrix, owner_consent=OWNER)
    np.testing.assert_allclose(found, 1 - np.array(cosines))
    torch.testing.assert_close(hidden_cosine(student * 9, teacher, matrix, owner_consent=OWNER), found)
    leaf = student.requires_grad_()
    assert torch.autograd.gradcheck(lambda h: hidden_cosine(h, teacher, matrix, owner_consent=OWNER), leaf)
    zero = torch.zeros(1, 3, requires_grad=True)
    loss = hidden_cosine(zero, torch.ones(1, 3), owner_consent=OWNER)
    torch.autograd.backward(loss.sum())
    assert loss.item() == 1
    assert zero.grad is not None
    assert zero.grad.isfinite().all()


@pytest.mark.parametrize("loss", [hidden_mse, hidden_cosine, embedding_mse])
def test_states_of_other_widths_positions_and_precision(loss: Callable[..., Tensor]) -> None:
    student, teacher, matrix = states(2)
    with pytest.raises(InputError, match="learnt 'projection'"):
        loss(student, teacher, owner_consent=OWNER)
    with pytest.raises(InputError, match=r"\(4, 6\), student by teacher width, got \(6, 4\)"):
        loss(student, teacher, matrix.T, owner_consent=OWNER)
    whole = loss(student, teacher, matrix, owner_consent=OWNER)
    some = loss(student[[3, 1]], teacher[[3, 1]], matrix, owner_consent=OWNER)
    torch.testing.assert_close(some, whole[[3, 1]])
    assert loss(student[:0], teacher[:0], matrix, owner_consent=OWNER).shape == (0,)
    half = loss(student.bfloat16(), teacher.bfloat16(), matrix.bfloat16(), owner_consent=OWNER)
    assert half.dtype == torch.float32
    far = loss(student * 1e4, teacher * -1e4, matrix, owner_consent=OWNER)
    assert far.isfinite().all()
    source = teacher.clone().requires_grad_()
    assert not loss(student, source, matrix, owner_consent=OWNER).requires_grad


def test_attention_scores_over_visible_keys() -> None:
    student, teacher, keys = maps(3)
    seen = keys.expand(2, 2, 4, 4).numpy()
    squares = (student.numpy() - teacher.numpy()) ** 2
    expected = [[squares[b, :, q][seen[b, :, q]].mean() for q in range(4)] for b in range(2)]
    np.testing.assert_allclose(attention_mse(student, teacher, keys, owner_consent=OWNER), expected)
    leaf = student.requires_grad_()
    assert torch.autograd.gradcheck(lambda a: attention_mse(a, teacher, keys, owner_consent=OWNER), leaf)


def test_attention_distributions() -> None:
    student, teacher, keys = (each.clone() for each in maps(4))
    mine, theirs = (torch.softmax(side.masked_fill(~keys, -torch.inf), dim=-1) for side in (student, teacher))
    seen = keys.expand(2, 2, 4, 4)
    expected = [
        [
            np.mean(
                [
                    reference.divergence(
                        theirs[b, h, q][seen[b, h, q]].numpy(), mine[b, h, q][seen[b, h, q]].numpy()
                    )
                    for h in range(2)
                ]
            )
            for q in range(4)
        ]
        for b in range(2)
    ]
    np.testing.assert_allclose(attention_kl(mine, theirs, keys, owner_consent=OWNER), expected)

    def through_softmax(scores: Tensor) -> Tensor:
        return attention_kl(
            torch.softmax(scores.masked_fill(~keys, -torch.inf), dim=-1), theirs, keys, owner_consent=OWNER
        )

    assert torch.autograd.gradcheck(through_softmax, student.requires_grad_())


@pytest.mark.parametrize("loss", [attention_mse, attention_kl])
def test_hidden_keys_hold_anything_and_queries_may_see_nothing(loss: Callable[..., Tensor]) -> None:
    student, teacher, keys = maps(5)
    mine, theirs = torch.softmax(student, dim=-1), torch.softmax(teacher, dim=-1)
    clean = loss(mine, theirs, keys, owner_consent=OWNER)
    filler = -torch.inf if loss is attention_mse else 0.0
    leaf = mine.masked_fill(~keys, filler).requires_grad_()
    odd = loss(leaf, theirs.masked_fill(~keys, filler), keys, owner_consent=OWNER)
    torch.testing.assert_close(odd, clean)
    torch.autograd.backward(odd.sum())
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()
    blind = loss(mine, theirs, torch.zeros_like(keys), owner_consent=OWNER)
    assert torch.equal(blind, torch.zeros(2, 4, dtype=torch.float64))


def test_attention_that_underflows_stays_finite() -> None:
    leaf = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]], requires_grad=True)
    losses = attention_kl(leaf, torch.full((1, 1, 2, 2), 0.5), owner_consent=OWNER)
    torch.autograd.backward(losses.sum())
    assert losses.isfinite().all()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def test_another_number_of_heads_is_refused() -> None:
    student, teacher, _ = maps(6)
    with pytest.raises(InputError, match=r"attention \(2, 1, 4, 4\), teacher_attention \(2, 2, 4, 4\)"):
        attention_mse(student[:, :1], teacher, owner_consent=OWNER)
    with pytest.raises(InputError, match=r"\(b, h, t, t\)"):
        attention_kl(student[0], teacher[0], owner_consent=OWNER)


def test_the_triple_loss_is_the_weighted_sum_of_its_parts() -> None:
    hidden, teacher_hidden, _ = states(7, mine=6)
    generator = torch.Generator().manual_seed(8)
    logits, teacher = torch.randn((2, 5, 7), generator=generator, dtype=torch.float64)
    targets = torch.tensor([0, 6, 3, 3, 1])
    cosine = hidden_cosine(hidden, teacher_hidden, owner_consent=OWNER)
    soft, hard = forward_kl(logits, teacher, 2.0), cross_entropy(logits, targets)
    columns = (teacher, targets, hidden, teacher_hidden)
    found = distilbert_triple(logits, *columns, owner_consent=OWNER)
    torch.testing.assert_close(found, 5 * soft + 2 * hard + cosine)
    only = distilbert_triple(logits, *columns, weights=(0.0, 1.0, 0.0), owner_consent=OWNER)
    torch.testing.assert_close(only, hard)

    def joint(z: Tensor, h: Tensor) -> Tensor:
        return distilbert_triple(z, teacher, targets, h, teacher_hidden, owner_consent=OWNER)

    assert torch.autograd.gradcheck(joint, (logits.requires_grad_(), hidden.requires_grad_()))
    with pytest.raises(InputError, match="'weights' must be at least 0"):
        distilbert_triple(logits, *columns, weights=(1.0, -1.0, 0.0), owner_consent=OWNER)
