"""Top-k with a tail bucket: dense at k = v, never above dense, safe with padding and rounded values."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdguard.distill.objectives import (
    forward_kl,
    topk_of,
    topk_renormalised_kl,
    topk_tail_kl,
    topk_uniform_kl,
)
from kdguard.errors import InputError
from tests.distill.objectives.columns import batch


def pair(seed: int, n: int = 3, v: int = 8) -> tuple[Tensor, Tensor]:
    logits, columns = batch(n, v, 1, seed)
    return logits, columns["teacher_logits"]


def value_and_gradient(loss: Callable[[Tensor], Tensor], logits: Tensor) -> tuple[Tensor, Tensor]:
    leaf = logits.detach().clone().requires_grad_()
    losses = loss(leaf)
    torch.autograd.backward(losses.sum())
    assert leaf.grad is not None
    return losses.detach(), leaf.grad


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**20), v=st.integers(1, 9), temperature=st.floats(0.3, 5), given_tail=st.booleans()
)
def test_all_entries_listed_is_dense_in_value_and_gradient(
    seed: int, v: int, temperature: float, given_tail: bool
) -> None:
    logits, teacher = pair(seed, v=v)
    ids, logprobs, tail = topk_of(teacher, v)
    assert torch.equal(tail, torch.zeros_like(tail))
    dense = value_and_gradient(lambda z: forward_kl(z, teacher, temperature), logits)
    mass = tail if given_tail else None
    cut = value_and_gradient(lambda z: topk_tail_kl(z, ids, logprobs, mass, temperature), logits)
    bare = value_and_gradient(lambda z: topk_renormalised_kl(z, ids, logprobs, temperature), logits)
    torch.testing.assert_close(cut, dense, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(bare, dense, rtol=1e-10, atol=1e-12)
    even = value_and_gradient(lambda z: topk_uniform_kl(z, ids, logprobs, mass), logits)
    dense = value_and_gradient(lambda z: forward_kl(z, teacher), logits)
    torch.testing.assert_close(even, dense, rtol=1e-10, atol=1e-12)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20))
def test_the_bucket_never_exceeds_dense_and_grows_with_k(seed: int) -> None:
    logits, teacher = pair(seed)
    losses = [topk_tail_kl(logits, *topk_of(teacher, k)) for k in range(1, 9)]
    for smaller, larger in itertools.pairwise(losses):
        assert (smaller <= larger + 1e-12).all()
    torch.testing.assert_close(losses[-1], forward_kl(logits, teacher))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20), k=st.integers(1, 7), temperature=st.floats(0.3, 5))
def test_the_teacher_itself_is_the_optimum_at_every_k_and_temperature(
    seed: int, k: int, temperature: float
) -> None:
    _, teacher = pair(seed)
    losses, slope = value_and_gradient(
        lambda z: topk_tail_kl(z, *topk_of(teacher, k), temperature=temperature), teacher
    )
    torch.testing.assert_close(losses, torch.zeros_like(losses), rtol=0, atol=1e-10)
    torch.testing.assert_close(slope, torch.zeros_like(slope), rtol=0, atol=1e-10)


def test_dropping_the_tail_teaches_overconfidence_and_the_bucket_does_not() -> None:
    """At the teacher itself, renormalising is content with any student that keeps the ratios; scaling them all up costs
    nothing there, but costs in the bucket.
    """
    _, teacher = pair(3)
    top = topk_of(teacher, 3)
    sure = teacher.scatter_add(-1, top.ids, torch.full_like(top.logprobs, 5.0))
    torch.testing.assert_close(
        topk_renormalised_kl(sure, top.ids, top.logprobs),
        torch.zeros(3, dtype=torch.float64),
        rtol=0,
        atol=1e-10,
    )
    assert (topk_tail_kl(sure, *top) > 0.1).all()


@pytest.mark.parametrize("loss", [topk_tail_kl, topk_uniform_kl])
def test_padding_is_ignored_whatever_it_holds(loss: Callable[..., Tensor]) -> None:
    logits, teacher = pair(4)
    ids, logprobs, tail = topk_of(teacher, 3)
    no_ids = torch.nn.functional.pad(ids, (0, 2), value=-1)
    no_values = torch.nn.functional.pad(logprobs, (0, 2), value=-torch.inf)
    odd_values = torch.nn.functional.pad(logprobs, (0, 2), value=-1.0)  # behind an unknown id
    odd_ids = torch.nn.functional.pad(ids, (0, 2), value=0)  # without a value
    expected = value_and_gradient(lambda z: loss(z, ids, logprobs, tail), logits)
    for some, values in [(no_ids, no_values), (no_ids, odd_values), (odd_ids, no_values)]:
        padded = value_and_gradient(partial(padded_loss, loss, some.int(), values, tail), logits)
        torch.testing.assert_close(padded, expected)


def padded_loss(loss: Callable[..., Tensor], ids: Tensor, values: Tensor, tail: Tensor, z: Tensor) -> Tensor:
    return loss(z, ids, values, tail)


def test_a_position_without_any_listed_entry_teaches_nothing() -> None:
    logits, _ = pair(5)
    ids, logprobs = torch.full((3, 2), -1), torch.full((3, 2), -torch.inf)
    losses, slope = value_and_gradient(lambda z: topk_tail_kl(z, ids, logprobs), logits)
    torch.testing.assert_close(losses, torch.zeros_like(losses))
    torch.testing.assert_close(slope, torch.zeros_like(slope))


def test_rounded_storage_does_little_harm() -> None:
    """Half-precision log-probabilities and a tail that no longer add up to 1."""
    logits, teacher = pair(6, n=50, v=40)
    ids, logprobs, tail = topk_of(teacher, 20)
    exact = topk_tail_kl(logits, ids, logprobs, tail)
    stored = topk_tail_kl(logits.float(), ids.int(), logprobs.half(), tail.half())
    assert stored.dtype == torch.float32
    torch.testing.assert_close(stored.double(), exact, rtol=5e-3, atol=5e-3)
    guessed = topk_tail_kl(logits.float(), ids.int(), logprobs.half())
    torch.testing.assert_close(guessed.double(), exact, rtol=2e-2, atol=2e-2)


@pytest.mark.parametrize("loss", [topk_tail_kl, topk_uniform_kl])
def test_a_list_that_rounding_lifted_above_one_leaves_no_tail(loss: Callable[..., Tensor]) -> None:
    logits, teacher = pair(9)
    ids, logprobs, _ = topk_of(teacher, 6)
    lifted = torch.log_softmax(logprobs, dim=-1) + 1e-3
    losses, slope = value_and_gradient(lambda z: loss(z, ids, lifted), logits)
    none = loss(logits, ids, lifted, torch.zeros(3, dtype=torch.float64))
    torch.testing.assert_close(losses, none)
    assert losses.isfinite().all()
    assert slope.isfinite().all()


def test_a_certain_teacher_with_no_tail_and_a_list_shorter_than_the_vocabulary() -> None:
    logits, _ = pair(7)
    ids, logprobs = torch.tensor([[2, 1]] * 3), torch.tensor([[0.0, -1e4]] * 3, dtype=torch.float64)
    losses, slope = value_and_gradient(lambda z: topk_tail_kl(z, ids, logprobs, torch.zeros(3)), logits)
    torch.testing.assert_close(losses, -torch.log_softmax(logits, dim=-1)[:, 2])
    assert slope.isfinite().all()


def test_lists_of_different_length_are_refused() -> None:
    with pytest.raises(InputError, match=r"top_ids \(1, 3\), top_logprobs \(1, 2\)"):
        topk_tail_kl(torch.zeros(1, 5), torch.zeros(1, 3, dtype=torch.long), torch.zeros(1, 2))
