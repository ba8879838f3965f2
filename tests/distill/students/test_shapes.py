"""Shapes, and weights to transformers and back."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import GPT2Config, LlamaForCausalLM

from kdguard.distill.students.shapes import NAMED, Shape, llama_config, named_shape, shape_of
from kdguard.distill.students.weights import (
    from_transformers,
    initial_weights,
    layout,
    stack,
    to_transformers,
    unstack,
)
from kdguard.errors import TrainingError
from tests.distill.students.made import SHAPE

GROUPED = Shape(hidden=48, layers=1, heads=6, kv_heads=2, vocab=40, context=16, tied=False, intermediate=80)


@pytest.mark.parametrize("shape", [SHAPE, GROUPED, NAMED["tiny"]])
def test_a_shape_counts_its_parameters_and_survives_a_configuration(shape: Shape) -> None:
    weights = initial_weights(shape, 0)
    assert sum(weight.numel() for weight in weights.values()) == shape.parameters
    assert shape_of(llama_config(shape)) == shape


@pytest.mark.parametrize("shape", [SHAPE, GROUPED])
def test_weights_go_to_transformers_and_back(shape: Shape) -> None:
    weights = initial_weights(shape, 1)
    model = LlamaForCausalLM(llama_config(shape))
    model.load_state_dict(to_transformers(weights, shape), strict=not shape.tied)
    back = from_transformers(model.state_dict(), shape)
    assert list(back) == list(weights) == list(layout(shape))
    assert all(torch.equal(back[name], weights[name]) for name in back)


def test_named_shapes_have_the_size_of_their_name() -> None:
    for name in ("3M", "10M", "30M", "60M"):
        assert abs(NAMED[name].parameters / (float(name[:-1]) * 1e6) - 1) < 0.03
    assert named_shape("tiny", vocab=512, context=64) == replace(NAMED["tiny"], vocab=512, context=64)


def test_seeds_make_weights_and_slots_keep_them() -> None:
    ones = [initial_weights(SHAPE, seed) for seed in (4, 5)]
    again = initial_weights(SHAPE, 5)
    stacked = stack(ones)
    for name, weight in again.items():
        assert torch.equal(unstack(stacked, 1)[name], weight)
    assert not torch.equal(ones[0]["embed"], ones[1]["embed"])


def test_what_cannot_be_a_shape_is_refused() -> None:
    with pytest.raises(TrainingError, match="named shapes are: micro"):
        named_shape("huge")
    with pytest.raises(TrainingError, match="heads must divide hidden"):
        Shape(hidden=30, layers=1, heads=4, vocab=8)
    with pytest.raises(TrainingError, match="must be positive"):
        Shape(hidden=32, layers=0, heads=4, vocab=8)
    config = llama_config(SHAPE)
    config.hidden_act = "gelu"
    with pytest.raises(TrainingError, match="only a plain Llama can be stacked"):
        shape_of(config)
    with pytest.raises(TrainingError, match="got model_type 'gpt2'"):
        shape_of(GPT2Config())


def test_weights_of_another_shape_are_refused() -> None:
    state = to_transformers(initial_weights(SHAPE, 0), SHAPE)
    with pytest.raises(TrainingError, match="must have size"):
        from_transformers(state, replace(SHAPE, vocab=80))
    with pytest.raises(TrainingError, match=r"has no tensor 'model\.layers\.2"):
        from_transformers(state, replace(SHAPE, layers=3))
    with pytest.raises(TrainingError, match="student 1 has another shape"):
        stack([initial_weights(SHAPE, 0), initial_weights(replace(SHAPE, vocab=80), 0)])
