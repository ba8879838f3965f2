"""The chunked head gives the loss and gradients of the plain objectives, and never holds all logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from kdguard.distill.objectives.sampled import sampled_kl
from kdguard.distill.objectives.text import cross_entropy
from kdguard.distill.objectives.topk import topk_of, topk_tail_kl
from kdguard.distill.students.head import Targets, chunk_length, dense_slope, head_losses
from kdguard.distill.students.sparse import sparse_slope

SLOTS, POSITIONS, WIDTH, VOCAB = 2, 13, 8, 19


def leaves(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(SLOTS, POSITIONS, WIDTH, generator=generator, dtype=torch.float64)
    head = torch.randn(SLOTS, VOCAB, WIDTH, generator=generator, dtype=torch.float64)
    return hidden.to(dtype).requires_grad_(), head.to(dtype).requires_grad_()


def targets(k: int = 4, temperature: tuple[float, float] = (1.0, 2.5)) -> Targets:
    """Full lists, padded lists, and positions without any soft target; token 0 spoken at one of these."""
    generator = torch.Generator().manual_seed(1)
    teacher = 2 * torch.randn(SLOTS, POSITIONS, VOCAB, generator=generator, dtype=torch.float64)
    token = torch.randint(0, VOCAB, (SLOTS, POSITIONS), generator=generator)
    weight, soft_weight = (
        torch.rand(2, SLOTS, POSITIONS, generator=generator, dtype=torch.float64) / POSITIONS
    )
    listed = topk_of(teacher, k)
    ids, logprobs, tail = listed.ids.clone(), listed.logprobs.clone(), listed.tail_mass.clone()
    ids[:, 3, 2:], logprobs[:, 3, 2:] = -1, -torch.inf
    tail[:, 3] = 1 - logprobs[:, 3].exp().sum(-1)
    ids[:, 5:7], logprobs[:, 5:7], tail[:, 5:7], soft_weight[:, 5:7] = -1, -torch.inf, 0, 0
    token[:, 5], token[:, 6] = 0, 3
    return Targets(token, weight, ids, logprobs, tail, soft_weight, torch.tensor(temperature)[:, None])


def reference(hidden: Tensor, head: Tensor, given: Targets) -> Tensor:
    """Total loss a slot from the plain objectives."""
    assert given.ids is not None
    assert given.logprobs is not None
    assert given.soft_weight is not None
    assert given.temperature is not None
    assert given.tail is not None
    logits = torch.bmm(hidden, head.mT)
    totals = []
    for slot in range(SLOTS):
        text = cross_entropy(logits[slot], given.token[slot]) * given.weight[slot]
        places = given.soft_weight[slot].nonzero().squeeze(1)
        mine, ids, logprobs, tail = (
            part[slot][places] for part in (logits, given.ids, given.logprobs, given.tail)
        )
        soft = topk_tail_kl(mine, ids, logprobs, tail, temperature=given.temperature[slot].item())
        totals.append(text.sum() + (soft * given.soft_weight[slot][places]).sum())
    return torch.stack(totals)


def compare(found: Tensor, expected: Tensor, leaves: tuple[Tensor, Tensor], rtol: float, atol: float) -> None:
    """Values, and gradients under unequal weights of the slots."""
    torch.testing.assert_close(found, expected.to(found.dtype), rtol=rtol, atol=atol)
    weights = torch.tensor([0.3, 1.7], dtype=found.dtype)
    ours = torch.autograd.grad((found * weights).sum(), leaves)
    theirs = torch.autograd.grad((expected * weights).sum(), leaves)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, rtol=rtol, atol=atol)


@pytest.mark.parametrize("k", [1, 4, VOCAB])
@pytest.mark.parametrize("chunk", [1, 5, POSITIONS, None])
def test_sparse_losses_are_the_objectives(k: int, chunk: int | None) -> None:
    hidden, head = leaves()
    given = targets(k)
    found = head_losses(hidden, head, given, sparse_slope, chunk)
    compare(found.total, reference(hidden, head, given), (hidden, head), rtol=1e-9, atol=1e-11)
    torch.testing.assert_close(found.total, found.text + found.soft)


def test_an_objective_through_autograd_on_chunks_is_the_same() -> None:
    hidden, head = leaves()
    given = targets(temperature=(1.0, 1.0))

    def losses(logits: Tensor, part: Targets) -> tuple[Tensor, Tensor]:
        flat = cross_entropy(logits.flatten(0, 1), part.token.flatten()).view_as(part.weight)
        assert part.ids is not None
        assert part.logprobs is not None
        assert part.soft_weight is not None
        assert part.tail is not None
        safe = torch.where(part.soft_weight > 0, part.soft_weight, 0.0)
        tail = torch.where((part.ids < 0).all(-1), 1.0, part.tail)
        soft = topk_tail_kl(logits, part.ids, part.logprobs, tail)
        return (flat * part.weight).sum(1), (soft * safe).sum(1)

    found = head_losses(hidden, head, given, dense_slope(losses), 4)
    compare(found.total, reference(hidden, head, given), (hidden, head), rtol=1e-9, atol=1e-11)


def test_text_alone_and_sampled_labels() -> None:
    hidden, head = leaves()
    given = targets()
    logits = torch.bmm(hidden, head.mT)
    text = Targets(given.token, given.weight)
    expected = (
        cross_entropy(logits.flatten(0, 1), given.token.flatten()).view_as(given.weight) * given.weight
    ).sum(1)
    compare(
        head_losses(hidden, head, text, sparse_slope, 3).total,
        expected,
        (hidden, head),
        rtol=1e-9,
        atol=1e-11,
    )
    counts = torch.tensor([5, 2, 1])
    ids = torch.stack(
        [torch.randperm(VOCAB, generator=torch.Generator().manual_seed(at))[:3] for at in range(26)]
    )
    ids = ids.view(SLOTS, POSITIONS, 3)
    shares = (counts / counts.sum()).double().log().expand(SLOTS, POSITIONS, 3)
    sampled = Targets(
        given.token,
        torch.zeros_like(given.weight),
        ids,
        shares,
        torch.zeros_like(given.weight),
        given.weight,
        torch.ones(SLOTS, 1),
    )
    flat = sampled_kl(torch.bmm(hidden, head.mT).flatten(0, 1), ids.flatten(0, 1), counts.expand(26, 3))
    expected = (flat.view_as(given.weight) * given.weight).sum(1)
    compare(
        head_losses(hidden, head, sampled, sparse_slope, 5).total,
        expected,
        (hidden, head),
        rtol=1e-9,
        atol=1e-11,
    )


def test_gradients_pass_gradcheck() -> None:
    given = targets()
    assert torch.autograd.gradcheck(lambda h, w: head_losses(h, w, given, sparse_slope, 5).total, leaves())


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 3e-2)])
def test_narrow_arithmetic_stays_near(dtype: torch.dtype, tolerance: float) -> None:
    hidden, head = leaves(dtype)
    given = targets()
    exact = tuple(leaf.detach().double().requires_grad_() for leaf in (hidden, head))
    found = head_losses(hidden, head, given, sparse_slope, 5).total
    expected = reference(exact[0], exact[1], given)
    assert ((found.double() - expected).abs() / expected).max() < tolerance
    for one, other in zip(
        torch.autograd.grad(found.sum(), (hidden, head)),
        torch.autograd.grad(expected.sum(), exact),
        strict=True,
    ):
        assert (one.double() - other).norm() / other.norm() < tolerance


def test_nothing_as_large_as_all_logits_is_ever_made() -> None:
    largest = _Largest()  # type: ignore[no-untyped-call]
    hidden, head = leaves(torch.float32)
    given = targets()
    with largest:
        losses = head_losses(hidden, head, given, sparse_slope, 2)
        torch.autograd.backward(losses.total.sum())
    assert largest.numbers == SLOTS * VOCAB * WIDTH  # the gradient of the head itself
    assert largest.numbers < SLOTS * POSITIONS * VOCAB


def test_chunks_are_chosen_by_size() -> None:
    cpu = torch.device("cpu")
    assert chunk_length(1, 100, 64, cpu) == 100
    assert chunk_length(1, 4_000, 32_000, cpu) == 16
    assert chunk_length(8, 1_000, 1_024, cpu) == 63
    assert chunk_length(1, 0, 1_024, cpu) == 1


class _Largest(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers the largest tensor that any operation gave."""

    numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for one in made if isinstance(made, tuple | list) else [made]:
            if isinstance(one, Tensor):
                self.numbers = max(self.numbers, one.numel())
        return made
