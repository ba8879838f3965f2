"""Teachers with another tokenizer: ULD, the exact overlap, and where two tokenisations meet."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kdguard.distill.objectives import forward_kl, overlap_kl, shared_positions, shared_tokens, uld, uld_topk
from kdguard.errors import InputError
from tests.distill.objectives import reference


def pair(seed: int, n: int = 3, mine: int = 6, theirs: int = 9) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shapes = ((n, mine), (n, theirs))
    student, teacher = (torch.randn(shape, generator=generator, dtype=torch.float64) * 2 for shape in shapes)
    return student, teacher


@settings(max_examples=30, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20), mine=st.integers(1, 8), theirs=st.integers(1, 8), k=st.integers(1, 12))
def test_uld_between_vocabularies_of_any_size(seed: int, mine: int, theirs: int, k: int) -> None:
    student, teacher = pair(seed, mine=mine, theirs=theirs)
    dense = uld(student, teacher)
    np.testing.assert_allclose(
        dense, reference.rows(reference.uld)(student.numpy(), teacher.numpy()), atol=1e-12
    )
    generator = torch.Generator().manual_seed(seed)
    shuffled = teacher[:, torch.randperm(theirs, generator=generator)]
    torch.testing.assert_close(uld(student[:, torch.randperm(mine, generator=generator)], shuffled), dense)
    logprobs = torch.log_softmax(teacher, dim=-1).sort(dim=-1, descending=True).values
    top = torch.nn.functional.pad(logprobs, (0, 12), value=-torch.inf)[:, :k]
    assert (uld_topk(student, top) <= dense + 1e-12).all()
    if k >= max(mine, theirs):
        torch.testing.assert_close(uld_topk(student, top), dense, rtol=1e-9, atol=1e-12)


def test_gradients() -> None:
    student, teacher = pair(1)
    leaf = student.requires_grad_()
    top = torch.log_softmax(teacher, dim=-1).topk(4, dim=-1).values
    mine, theirs = torch.tensor([0, 2, 5]), torch.tensor([8, 1, 3])
    assert torch.autograd.gradcheck(lambda z: uld(z, teacher, 1.5), leaf)
    assert torch.autograd.gradcheck(lambda z: uld_topk(z, top), leaf)
    assert torch.autograd.gradcheck(lambda z: overlap_kl(z, teacher, mine, theirs, 2.0), leaf)


def overlap_reference(
    z: np.ndarray, teacher: np.ndarray, mine: list[int], theirs: list[int], t: float
) -> float:
    q, p = reference.softmax(z, t), reference.softmax(teacher, t)
    q, p = np.array([*q[mine], 1 - q[mine].sum()]), np.array([*p[theirs], 1 - p[theirs].sum()])
    return t**2 * reference.divergence(p, q)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**20), m=st.integers(1, 5), temperature=st.floats(0.5, 4))
def test_overlap_compares_shared_tokens_and_one_bucket(seed: int, m: int, temperature: float) -> None:
    student, teacher = pair(seed)
    generator = torch.Generator().manual_seed(seed)
    mine, theirs = torch.randperm(6, generator=generator)[:m], torch.randperm(9, generator=generator)[:m]
    expected = [
        overlap_reference(z, t, mine.tolist(), theirs.tolist(), temperature)
        for z, t in zip(student.numpy(), teacher.numpy(), strict=True)
    ]
    np.testing.assert_allclose(overlap_kl(student, teacher, mine, theirs, temperature), expected, rtol=1e-8)


def test_overlap_of_everything_in_another_order_is_dense() -> None:
    student, teacher = pair(2, theirs=6)
    order = torch.tensor([3, 1, 4, 0, 5, 2])
    shuffled = torch.empty_like(teacher)
    shuffled[:, order] = teacher
    leaf, other = student.clone().requires_grad_(), student.clone().requires_grad_()
    cut, dense = overlap_kl(leaf, shuffled, torch.arange(6), order), forward_kl(other, teacher)
    torch.autograd.backward(cut.sum() + dense.sum())
    torch.testing.assert_close(cut, dense)
    torch.testing.assert_close(leaf.grad, other.grad)


@pytest.mark.parametrize(("mine", "theirs"), [(3, 9), (9, 3)])
def test_one_vocabulary_inside_the_other_is_finite(mine: int, theirs: int) -> None:
    student, teacher = pair(3, mine=mine, theirs=theirs)
    leaf = student.requires_grad_()
    losses = overlap_kl(leaf, teacher, torch.arange(3), torch.arange(3))
    torch.autograd.backward(losses.sum())
    assert losses.isfinite().all()
    assert (losses > 0).all()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def test_extreme_logits_of_both_vocabularies() -> None:
    student, teacher = (side.sign() * 1e4 for side in pair(4))
    leaf = student.float().requires_grad_()
    ids = torch.arange(3)
    losses = torch.cat([uld(leaf, teacher.float()), overlap_kl(leaf, teacher.float(), ids, ids)])
    torch.autograd.backward(losses.sum())
    assert losses.isfinite().all()
    assert leaf.grad is not None
    assert leaf.grad.isfinite().all()


def test_shared_tokens_are_matched_by_their_bytes() -> None:
    found = shared_tokens([b"", b"a", b"the", b"b", b"a"], [b"the", b"x", b"a", b"", b"a"])
    assert found.student_ids == (1, 2)
    assert found.teacher_ids == (2, 0)
    with pytest.raises(InputError, match="share no token"):
        shared_tokens([b"a", b""], [b"b", b""])


def cut(text: bytes, edges: set[int]) -> list[bytes]:
    places = [0, *sorted(edge for edge in edges if 0 < edge < len(text)), len(text)]
    return [text[a:b] for a, b in itertools.pairwise(places)]


@settings(max_examples=50, deadline=None, derandomize=True)
@given(text=st.binary(min_size=1, max_size=15), a=st.sets(st.integers(0, 15)), b=st.sets(st.integers(0, 15)))
def test_shared_positions_follow_the_same_bytes_and_all_are_found(
    text: bytes, a: set[int], b: set[int]
) -> None:
    mine, theirs = cut(text, a), cut(text, b)
    found = shared_positions(mine, theirs)
    prefixes = {b"".join(theirs[:place]): place for place in range(len(theirs))}
    expected = [
        (place, prefixes[prefix])
        for place in range(len(mine))
        if (prefix := b"".join(mine[:place])) in prefixes
    ]
    assert list(zip(found.student, found.teacher, strict=True)) == expected
    assert expected[0] == (0, 0)


def test_tokens_that_spell_nothing_are_passed_over() -> None:
    found = shared_positions([b"", b"ab", b"c"], [b"ab", b"", b"c"])
    assert found == ((1, 2), (0, 2))


def test_different_texts_and_odd_lists_are_refused() -> None:
    with pytest.raises(InputError, match="same bytes"):
        shared_positions([b"ab"], [b"a"])
    with pytest.raises(InputError, match="one length above 0"):
        overlap_kl(*pair(5), torch.arange(2), torch.arange(3))
    with pytest.raises(InputError, match="one length above 0"):
        overlap_kl(*pair(5), torch.arange(0), torch.arange(0))
