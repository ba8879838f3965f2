"""A Llama whose weights carry a leading slot dimension, so that many students of one shape run as one.

Every product is a batched one over the slots: one call instead of one a student. One student is a stack of one, so
there is a single forward pass to trust. Letters: m slots, b rows a slot, t tokens a row, n = b·t, d hidden width,
h heads, s supervised positions a slot.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from kdguard.distill.students.attention import Layout, attend
from kdguard.distill.students.layers import gate, normalise, rotary_table, rotate
from kdguard.distill.students.shapes import Shape

Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Rows:
    """Packed rows for every slot.

    Attributes:
        tokens: (m, b, t) int64.
        positions: (m, b, t) int64, counted from the start of each document.
        layout: Which token may see which.
        where: (m, s) int64, places in the flattened row axis whose hidden state is wanted; None = all.
    """

    tokens: Tensor
    positions: Tensor
    layout: Layout
    where: Tensor | None = None


def hidden_states(weights: Weights, shape: Shape, rows: Rows, dtype: torch.dtype) -> Tensor:
    """Final hidden states, ready for the vocabulary head.

    Norm gains are folded into the projection that follows: a product of the size of a weight instead of one of the
    size of the activations. The last feed-forward layer runs on the wanted positions only.

    Args:
        weights: Stacked weights by name, as `empty_weights` makes them.
        shape: Their shape.
        rows: What to run.
        dtype: Compute type; weights and norms stay float32.

    Returns:
        (m, s, d) in `dtype`; s = b·t without `rows.where`.
    """
    slots, height, width = rows.tokens.shape
    stream = embed(weights["embed"], rows.tokens).to(dtype)
    cosine, sine = rotary_table(shape, rows.positions.reshape(slots * height, width), dtype)
    for layer in range(shape.layers):
        name = f"layers.{layer}."
        joint = project(stream, weights[name + "qkv"], weights[name + "attention_norm"], shape, dtype)
        mixed = _attention(joint.view(slots * height, width, -1), cosine, sine, shape, rows.layout)
        stream = stream + torch.bmm(
            mixed.reshape(slots, height * width, -1), weights[name + "out"].to(dtype).mT
        )
        if layer == shape.layers - 1 and rows.where is not None:
            stream = take(stream, rows.where)
        wide = project(stream, weights[name + "gate_up"], weights[name + "mlp_norm"], shape, dtype)
        stream = stream + torch.bmm(gate(wide), weights[name + "down"].to(dtype).mT)
    return normalise(stream, shape.norm_eps) * weights["norm"].to(dtype)[:, None]


def head_weights(weights: Weights) -> Tensor:
    """Rows of the vocabulary head, (m, v, d); the embedding itself when tied."""
    return weights["head"] if "head" in weights else weights["embed"]


def embed(table: Tensor, tokens: Tensor) -> Tensor:
    """Rows of each slot's own table: (m, v, d) at (m, b, t) gives (m, b·t, d)."""
    slots, vocab, width = table.shape
    offset = torch.arange(slots, device=tokens.device).view(slots, 1, 1) * vocab
    return functional.embedding(tokens + offset, table.view(slots * vocab, width)).view(slots, -1, width)


def project(stream: Tensor, weight: Tensor, gain: Tensor, shape: Shape, dtype: torch.dtype) -> Tensor:
    """Root-mean-square norm, then a product with (m, o, d) weights whose columns carry the norm's gain."""
    folded = (weight * gain[:, None]).to(dtype)
    return torch.bmm(normalise(stream, shape.norm_eps), folded.mT)


def take(stream: Tensor, where: Tensor) -> Tensor:
    """The positions `where` (m, s) of (m, n, d)."""
    return stream.gather(1, where[..., None].expand(-1, -1, stream.shape[-1]))


def _attention(joint: Tensor, cosine: Tensor, sine: Tensor, shape: Shape, layout: Layout) -> Tensor:
    """Attention of (b, t, (h + 2k)·w) joint projections; gives (b, t, h·w)."""
    turned = shape.heads + shape.kv_heads
    split = joint.view(*joint.shape[:2], turned + shape.kv_heads, shape.head_width)
    pair, values = torch.split(split, [turned, shape.kv_heads], dim=2)
    queries, keys = torch.split(rotate(pair, cosine, sine), [shape.heads, shape.kv_heads], dim=2)
    return attend(queries, keys, values, layout)
