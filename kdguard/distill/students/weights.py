"""Stacked weights: made from seeds, from transformers' state dictionaries, and back.

Names: `embed` (m, v, d), `norm` (m, d), `head` (m, v, d) when not tied, and for every layer `attention_norm` (m, d),
`qkv` (m, (h + 2k)·w, d), `out` (m, d, h·w), `mlp_norm` (m, d), `gate_up` (m, 2f, d), `down` (m, d, f).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kdguard.distill.students.shapes import Shape
from kdguard.errors import TrainingError

INITIAL_SPREAD = 0.02


def layout(shape: Shape) -> dict[str, tuple[int, ...]]:
    """Name and size of every weight of one student, in a fixed order."""
    d, w = shape.hidden, shape.head_width
    sizes: dict[str, tuple[int, ...]] = {"embed": (shape.vocab, d)}
    for layer in range(shape.layers):
        name = f"layers.{layer}."
        sizes |= {
            name + "attention_norm": (d,),
            name + "qkv": ((shape.heads + 2 * shape.kv_heads) * w, d),
            name + "out": (d, shape.heads * w),
            name + "mlp_norm": (d,),
            name + "gate_up": (2 * shape.intermediate, d),
            name + "down": (d, shape.intermediate),
        }
    sizes["norm"] = (d,)
    if not shape.tied:
        sizes["head"] = (shape.vocab, d)
    return sizes


def initial_weights(shape: Shape, seed: int) -> dict[str, Tensor]:
    """Weights of one untrained student: normal with spread 0.02, gains one; the same seed gives the same bytes.

    The layers that write to the residual stream start smaller by the root of twice their number.

    References:
        Radford et al. (2019), Language Models are Unsupervised Multitask Learners.
    """
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for name, size in layout(shape).items():
        if len(size) == 1:
            made[name] = torch.ones(size)
            continue
        writes = name.endswith((".out", ".down"))
        spread = INITIAL_SPREAD * ((2 * shape.layers) ** -0.5 if writes else 1.0)
        made[name] = torch.randn(size, generator=generator) * spread
    return made


def stack(students: Sequence[Mapping[str, Tensor]], device: torch.device | str = "cpu") -> dict[str, Tensor]:
    """Put students of one shape on a leading slot dimension, as float32 leaves that take gradients.

    Raises:
        TrainingError: No student, or two whose names or sizes differ.
    """
    if not students:
        raise TrainingError("a fleet needs at least one student")
    sizes = {name: weight.shape for name, weight in students[0].items()}
    for place, student in enumerate(students):
        if {name: weight.shape for name, weight in student.items()} != sizes:
            raise TrainingError(f"student {place} has another shape than student 0; a fleet has one shape")
    return {
        name: torch.stack([student[name].float() for student in students]).to(device).requires_grad_()
        for name in sizes
    }


def unstack(stacked: Mapping[str, Tensor], slot: int) -> dict[str, Tensor]:
    """A copy of one slot's weights on the CPU."""
    return {name: weight.detach()[slot].to("cpu", copy=True) for name, weight in stacked.items()}


def to_transformers(weights: Mapping[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """One student's weights under the names of transformers' LlamaForCausalLM; the tied head is left out."""
    named = {"model.embed_tokens.weight": weights["embed"], "model.norm.weight": weights["norm"]}
    if not shape.tied:
        named["lm_head.weight"] = weights["head"]
    turned = [shape.heads * shape.head_width, *[shape.kv_heads * shape.head_width] * 2]
    for layer in range(shape.layers):
        ours, theirs = f"layers.{layer}.", f"model.layers.{layer}."
        parts = torch.split(weights[ours + "qkv"], turned)
        for letter, part in zip("qkv", parts, strict=True):
            named[f"{theirs}self_attn.{letter}_proj.weight"] = part
        gate, up = weights[ours + "gate_up"].chunk(2)
        named |= {
            theirs + "self_attn.o_proj.weight": weights[ours + "out"],
            theirs + "mlp.gate_proj.weight": gate,
            theirs + "mlp.up_proj.weight": up,
            theirs + "mlp.down_proj.weight": weights[ours + "down"],
            theirs + "input_layernorm.weight": weights[ours + "attention_norm"],
            theirs + "post_attention_layernorm.weight": weights[ours + "mlp_norm"],
        }
    return {name: part.contiguous() for name, part in named.items()}


def from_transformers(state: Mapping[str, Tensor], shape: Shape) -> dict[str, Tensor]:
    """One student's weights from a LlamaForCausalLM state dictionary.

    Raises:
        TrainingError: A tensor is missing or has another size than the shape asks for.
    """
    made = {}
    for name, size in layout(shape).items():
        theirs = _sources(name)
        missing = [source for source in theirs if source not in state]
        if missing:
            raise TrainingError(f"the model has no tensor '{missing[0]}', which a Llama of this shape needs")
        made[name] = torch.cat([state[source].detach().float() for source in theirs]).clone()
        if made[name].shape != size:
            raise TrainingError(f"'{name}' must have size {size}, the model has {tuple(made[name].shape)}")
    return made


def _sources(name: str) -> list[str]:
    """The transformers tensors that one of our weights is joined from."""
    outer = {"embed": "model.embed_tokens", "norm": "model.norm", "head": "lm_head"}
    if name in outer:
        return [outer[name] + ".weight"]
    _, layer, part = name.split(".")
    inner = {
        "attention_norm": ["input_layernorm"],
        "qkv": ["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "out": ["self_attn.o_proj"],
        "mlp_norm": ["post_attention_layernorm"],
        "gate_up": ["mlp.gate_proj", "mlp.up_proj"],
        "down": ["mlp.down_proj"],
    }
    return [f"model.layers.{layer}.{part}.weight" for part in inner[part]]
