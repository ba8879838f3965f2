"""The stacked Llama is transformers' Llama, slot by slot, value and gradient."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from transformers import LlamaForCausalLM

from kdguard.distill.students.attention import by_document, masked
from kdguard.distill.students.layers import gate, normalise, rotate
from kdguard.distill.students.shapes import Shape, llama_config
from kdguard.distill.students.stacked import Rows, head_weights, hidden_states
from kdguard.distill.students.weights import initial_weights, stack, to_transformers
from tests.distill.students.made import SHAPE

SLOTS, ROWS, LENGTH = 3, 2, 12
GROUPED = Shape(hidden=48, layers=2, heads=6, kv_heads=2, vocab=40, context=16, tied=False)


def rows(shape: Shape, dtype: torch.dtype, where: Tensor | None = None) -> tuple[Rows, Tensor]:
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(0, shape.vocab, (SLOTS, ROWS, LENGTH), generator=generator)
    documents = torch.zeros(SLOTS, ROWS, LENGTH, dtype=torch.int64)
    documents[:, :, 5:] = 1
    documents[:, 1, 9:] = -1
    positions = torch.arange(LENGTH).repeat(SLOTS, ROWS, 1)
    positions[:, :, 5:] -= 5
    return Rows(tokens, positions, masked(documents.flatten(0, 1), dtype), where), documents


def logits(weights: dict[str, Tensor], shape: Shape, batch: Rows, dtype: torch.dtype) -> Tensor:
    hidden = hidden_states(weights, shape, batch, dtype)
    return torch.bmm(hidden, head_weights(weights).to(dtype).mT)


@pytest.mark.parametrize("shape", [SHAPE, GROUPED])
def test_every_slot_is_transformers_llama(shape: Shape) -> None:
    ones = [initial_weights(shape, seed) for seed in range(SLOTS)]
    for one in ones:  # gains of one would hide a fold at the wrong place
        for name in one:
            one[name] += 0.3 * torch.randn(one[name].shape) * (one[name].dim() == 1)
    weights = stack(ones)
    batch, documents = rows(shape, torch.float32)
    ours = logits(weights, shape, batch, torch.float32)
    ours.square().sum().backward()  # type: ignore[no-untyped-call]
    for slot, one in enumerate(ones):
        model = LlamaForCausalLM(llama_config(shape))
        model.load_state_dict(to_transformers(one, shape), strict=False)
        theirs = model(
            batch.tokens[slot],
            attention_mask=masked(documents[slot], torch.float32).mask,
            position_ids=batch.positions[slot],
        ).logits
        torch.testing.assert_close(ours[slot], theirs.flatten(0, 1), rtol=1e-4, atol=1e-5)
        theirs.square().sum().backward()
        expected = {name: weight.grad for name, weight in model.named_parameters()}
        found = to_transformers(
            {name: grad[slot] for name, weight in weights.items() if (grad := weight.grad) is not None}, shape
        )
        for name, grad in found.items():
            torch.testing.assert_close(grad, expected[name], rtol=2e-3, atol=2e-4)


def test_documents_and_slots_do_not_see_one_another() -> None:
    weights = stack([initial_weights(SHAPE, seed) for seed in range(SLOTS)])
    batch, _ = rows(SHAPE, torch.float32)
    before = logits(weights, SHAPE, batch, torch.float32)
    changed = batch.tokens.clone()
    changed[1, 0, 6] = (changed[1, 0, 6] + 1) % SHAPE.vocab
    after = logits(weights, SHAPE, replace(batch, tokens=changed), torch.float32)
    moved = (before != after).any(-1).view(SLOTS, ROWS, LENGTH)
    assert moved[1, 0, 6:].all()
    moved[1, 0, 6:] = False
    assert not moved.any()


def test_wanted_positions_are_those_of_the_whole() -> None:
    weights = stack([initial_weights(SHAPE, seed) for seed in range(SLOTS)])
    where = torch.tensor([[0, 5, 23], [1, 1, 2], [22, 3, 11]])
    whole = hidden_states(weights, SHAPE, rows(SHAPE, torch.float32)[0], torch.float32)
    part = hidden_states(weights, SHAPE, rows(SHAPE, torch.float32, where)[0], torch.float32)
    expected = whole.gather(1, where[..., None].expand(-1, -1, SHAPE.hidden))
    torch.testing.assert_close(part, expected, rtol=1e-5, atol=1e-6)


def test_bfloat16_stays_near_float32() -> None:
    weights = stack([initial_weights(SHAPE, seed) for seed in range(SLOTS)])
    exact = hidden_states(weights, SHAPE, rows(SHAPE, torch.float32)[0], torch.float32)
    narrow = hidden_states(weights, SHAPE, rows(SHAPE, torch.bfloat16)[0], torch.bfloat16).float()
    assert ((narrow - exact).norm() / exact.norm()).item() < 0.02


def test_bounds_of_documents_hold_every_change() -> None:
    documents = torch.tensor([[0, 0, 1, 1, 1, -1], [0, 1, 1, 1, 1, 1]])
    found = by_document(documents, most=8, longest=5).bounds
    assert found is not None
    assert found.tolist() == [0, 2, 5, 6, 7, 12, 12, 12, 12]


def test_the_pieces_agree_with_autograd_in_float64() -> None:
    generator = torch.Generator().manual_seed(1)

    def leaf(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64).requires_grad_()

    angle = torch.randn(2, 3, 1, 2, generator=generator, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda x: normalise(x, 1e-5), (leaf(3, 6),))
    assert torch.autograd.gradcheck(gate, (leaf(3, 8),))
    assert torch.autograd.gradcheck(lambda x: rotate(x, angle.cos(), angle.sin()), (leaf(2, 3, 2, 4),))
    x = leaf(3, 6)
    torch.testing.assert_close(normalise(x, 1e-5), torch.nn.functional.rms_norm(x, (6,), eps=1e-5))
