"""TinyBERT's stages on made-up internals, and on two small models."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM

from kdguard.distill.objectives import forward_kl, mean_loss
from kdguard.distill.whitebox.layers import explicit_map, uniform_map
from kdguard.distill.whitebox.projections import Projections
from kdguard.distill.whitebox.tinybert import Internals, tinybert
from kdguard.errors import InputError
from tests.distill.whitebox.owner import OWNER


def internals(seed: int, layers: int, width: int, dtype: torch.dtype = torch.float64) -> Internals:
    """Two sequences of three tokens, two heads, five entries."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

    hidden = [drawn(2, 3, width) for _ in range(layers + 1)]
    return Internals(
        hidden=hidden, attention=[drawn(2, 2, 3, 3) for _ in range(layers)], logits=drawn(2, 3, 5)
    )


def test_layers_are_summed_as_the_map_says() -> None:
    student, teacher = internals(0, 2, 4), internals(1, 3, 6)
    projections = Projections(4, 6, 2, torch.Generator().manual_seed(2)).double()
    layer_map = explicit_map(2, 3, [(1, 1), (2, 3)])
    keys = torch.ones(3, 3, dtype=torch.bool).tril()
    found = tinybert("general", student, teacher, layer_map, projections, keys, owner_consent=OWNER)
    expected = torch.zeros(2, 3, dtype=torch.float64)
    for place, (mine, theirs) in enumerate([(0, 0), (1, 1), (2, 3)]):
        gap = student.hidden[mine] @ projections.of(place) - teacher.hidden[theirs]
        expected += gap.square().mean(dim=-1)
    for mine, theirs in [(0, 0), (1, 2)]:
        square = (student.attention[mine] - teacher.attention[theirs]).square()
        expected += (square * keys).sum(dim=(1, 3)) / (2 * keys.sum(dim=-1))
    torch.testing.assert_close(found, expected)
    again = tinybert("task_intermediate", student, teacher, layer_map, projections, keys, owner_consent=OWNER)
    assert torch.equal(again, found)


def test_predictions_are_soft_targets() -> None:
    student, teacher = internals(3, 2, 4), internals(4, 3, 6)
    found = tinybert(
        "task_prediction", student, teacher, uniform_map(2, 3), temperature=2.0, owner_consent=OWNER
    )
    assert student.logits is not None
    assert teacher.logits is not None
    torch.testing.assert_close(found, forward_kl(student.logits, teacher.logits, 2.0))


def test_gradients_reach_states_and_projections() -> None:
    teacher, layer_map = internals(5, 3, 6), uniform_map(2, 3)
    student = internals(6, 2, 4)
    projections = Projections(4, 6, 2, torch.Generator().manual_seed(7), shared=True).double()

    def joint(first: Tensor, last: Tensor, scores: Tensor) -> Tensor:
        made = Internals(hidden=[first, student.hidden[1], last], attention=[scores, student.attention[1]])
        return tinybert("general", made, teacher, layer_map, projections, owner_consent=OWNER)

    leaves = [each.requires_grad_() for each in (student.hidden[0], student.hidden[2], student.attention[0])]
    assert torch.autograd.gradcheck(joint, leaves)
    torch.autograd.backward(joint(*leaves).sum())
    assert projections.weights.grad is not None
    assert (projections.weights.grad != 0).all()


def test_wrong_stages_depths_and_missing_logits_are_refused() -> None:
    student, teacher = internals(8, 2, 4), internals(9, 3, 4)
    with pytest.raises(
        InputError, match="'stage' must be one of general, task_intermediate, task_prediction"
    ):
        tinybert("second", student, teacher, uniform_map(2, 3), owner_consent=OWNER)
    with pytest.raises(
        InputError, match="teacher of 4 layers: 5 hidden states and 4 attention maps, got 4 and 3"
    ):
        tinybert("general", student, teacher, uniform_map(2, 4), owner_consent=OWNER)
    bare = Internals(hidden=student.hidden, attention=student.attention)
    with pytest.raises(InputError, match="needs the logits"):
        tinybert("task_prediction", bare, teacher, uniform_map(2, 3), owner_consent=OWNER)
    wide = internals(10, 3, 6)
    with pytest.raises(InputError, match="learnt 'projection'"):
        tinybert("general", student, wide, uniform_map(2, 3), owner_consent=OWNER)


def small_model(seed: int, layers: int, width: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=32,
        hidden_size=width,
        intermediate_size=2 * width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    model = LlamaForCausalLM(config)
    model.set_attn_implementation("eager")  # the only one that returns attention maps
    return model


def forward(model: LlamaForCausalLM, ids: Tensor) -> Internals:
    found = model(ids, output_hidden_states=True, output_attentions=True)
    return Internals(hidden=found.hidden_states, attention=found.attentions, logits=found.logits)


def test_a_few_steps_bring_a_small_model_nearer_to_its_teacher() -> None:
    teacher, student = small_model(0, 4, 32), small_model(1, 2, 16)
    projections = Projections(16, 32, 2, torch.Generator().manual_seed(2))
    optimiser = torch.optim.AdamW([*student.parameters(), *projections.parameters()], lr=1e-2)
    ids = torch.randint(32, (4, 12), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        target = forward(teacher, ids)
    losses = []
    for _ in range(15):
        found = tinybert(
            "general", forward(student, ids), target, uniform_map(2, 4), projections, owner_consent=OWNER
        )
        loss = mean_loss(found, found.numel())
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
