"""Every objective of positions against the NumPy reference, and the invariances that all of them keep."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdguard.distill.objectives.reduction import mean_loss
from tests.distill.objectives.columns import CASES, Case, batch, columns_for

each_case = pytest.mark.parametrize("case", CASES, ids=str)
# Adaptive KL holds its weights fixed, so finite differences do not apply; test_divergences looks at its gradient.
each_smooth_case = pytest.mark.parametrize("case", [case for case in CASES if case.smooth], ids=str)


def gradient(case: Case, logits: Tensor, columns: dict[str, Tensor]) -> Tensor:
    leaf = logits.detach().clone().requires_grad_()
    torch.autograd.backward(case.ours(leaf, columns).sum())
    assert leaf.grad is not None
    return leaf.grad


@each_case
@settings(max_examples=15, deadline=None, derandomize=True)
@given(n=st.integers(1, 4), v=st.integers(2, 9), k=st.integers(1, 9), seed=st.integers(0, 2**20))
def test_value_is_the_references(case: Case, n: int, v: int, k: int, seed: int) -> None:
    logits, columns = batch(n, v, k, seed)
    np.testing.assert_allclose(
        case.ours(logits, columns).numpy(), case.theirs(logits, columns), rtol=1e-9, atol=1e-11
    )


@each_smooth_case
def test_gradient_is_the_references_finite_difference(case: Case) -> None:
    logits, columns = batch(n=2, v=5, k=3, seed=1)
    ours, step = gradient(case, logits, columns).numpy(), 1e-5
    for place in np.ndindex(*logits.shape):
        up, down = logits.clone(), logits.clone()
        up[place] += step
        down[place] -= step
        slope = (case.theirs(up, columns).sum() - case.theirs(down, columns).sum()) / (2 * step)
        assert ours[place] == pytest.approx(slope, rel=1e-5, abs=1e-8)


@each_smooth_case
def test_gradcheck(case: Case) -> None:
    logits, columns = batch(n=3, v=6, k=4, seed=2)
    assert torch.autograd.gradcheck(lambda z: case.ours(z, columns), logits.requires_grad_())


@each_case
@settings(max_examples=10, deadline=None, derandomize=True)
@given(n=st.integers(1, 6), seed=st.integers(0, 2**20), data=st.data())
def test_positions_do_not_know_each_other(case: Case, n: int, seed: int, data: st.DataObject) -> None:
    """Reordering positions reorders losses, and leaving some out (padding) changes nothing of the others."""
    logits, columns = batch(n, 7, 3, seed)
    kept = data.draw(st.lists(st.integers(0, n - 1), unique=True))
    losses = case.ours(logits, columns)
    some = case.ours(logits[kept], {name: column[kept] for name, column in columns.items()})
    torch.testing.assert_close(some, losses[kept], rtol=1e-12, atol=1e-12)


@each_case
@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20), cuts=st.lists(st.integers(0, 9), max_size=4))
def test_accumulation_equals_one_big_batch(case: Case, seed: int, cuts: list[int]) -> None:
    """Micro-batches divided by the count of the whole batch, some of them empty, add up to its gradient."""
    logits, columns = batch(9, 6, 3, seed)
    whole, parts = logits.clone().requires_grad_(), logits.clone().requires_grad_()
    torch.autograd.backward(mean_loss(case.ours(whole, columns), 9))
    edges = [0, *sorted(cuts), 9]
    for start, end in itertools.pairwise(edges):
        some = {name: column[start:end] for name, column in columns.items()}
        torch.autograd.backward(mean_loss(case.ours(parts[start:end], some), 9))
    assert whole.grad is not None
    assert parts.grad is not None
    torch.testing.assert_close(parts.grad, whole.grad, rtol=1e-12, atol=1e-14)


@each_case
def test_a_batch_without_positions_is_safe(case: Case) -> None:
    logits, columns = batch(3, 6, 3, seed=3)
    leaf = logits.requires_grad_()
    losses = case.ours(leaf[:0], {name: column[:0] for name, column in columns.items()})
    torch.autograd.backward(mean_loss(losses, 0))
    assert losses.shape == (0,)
    assert mean_loss(losses, 0).item() == 0
    assert leaf.grad is not None
    assert torch.equal(leaf.grad, torch.zeros_like(leaf))


@each_case
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_extreme_logits_stay_finite(case: Case, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(4)
    signs = torch.randint(2, (2, 8, 6), generator=generator, dtype=torch.float32) * 2 - 1
    student, teacher = (signs * 1e4).to(dtype)
    for mine, theirs in [(student, teacher), (student, -student), (student, student), (student * 0, teacher)]:
        columns = columns_for(theirs, 3, seed=5)
        assert case.ours(mine, columns).isfinite().all()
        assert gradient(case, mine, columns).isfinite().all()


@each_case
def test_half_precision_accumulates_in_float32(case: Case) -> None:
    logits, columns = batch(5, 8, 3, seed=6, dtype=torch.bfloat16)
    wide = {
        name: column.float() if column.is_floating_point() else column for name, column in columns.items()
    }
    losses = case.ours(logits, columns)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, case.ours(logits.float(), wide), rtol=1e-6, atol=1e-6)
    assert gradient(case, logits, columns).dtype == torch.bfloat16


@each_case
def test_axes_in_front_and_vmap_give_the_same(case: Case) -> None:
    """A fleet stacks slots in front, or maps over them."""
    slots = [batch(4, 6, 3, seed) for seed in (7, 8)]
    expected = torch.stack([case.ours(*slot) for slot in slots])
    logits = torch.stack([slot[0] for slot in slots])
    columns = {name: torch.stack([slot[1][name] for slot in slots]) for name in slots[0][1]}
    torch.testing.assert_close(case.ours(logits, columns), expected)
    torch.testing.assert_close(torch.func.vmap(case.ours)(logits, columns), expected)


def test_micro_batches_divided_by_their_own_count_would_not_add_up() -> None:
    losses = torch.tensor([1.0, 2.0, 6.0])
    wrong = (mean_loss(losses[:1], 1) + mean_loss(losses[1:], 2)) / 2
    assert wrong.item() != pytest.approx(mean_loss(losses, 3).item())


def test_mean_loss_takes_a_count_on_the_device_and_sums_wide() -> None:
    many = torch.full((4096,), 0.1, dtype=torch.bfloat16)
    assert mean_loss(many, torch.tensor(4096)).dtype == torch.float32
    assert mean_loss(many, torch.tensor(4096)).item() == pytest.approx(float(many[0]), rel=1e-5)
    assert mean_loss(many[:0], torch.tensor(0)).item() == 0
