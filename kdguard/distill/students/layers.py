"""The small pieces of a decoder layer, with backward passes that touch memory as little as possible.

Each equals the textbook formula; the tests hold them to autograd in float64.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from kdguard.distill.students.shapes import Shape


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, eps: float) -> Tensor:
        wide = x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
        scale = torch.rsqrt(wide.square().mean(-1, keepdim=True) + eps)
        y = (wide * scale).to(x.dtype)
        ctx.save_for_backward(y, scale.to(x.dtype))
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        (grad,) = grads
        y, scale = ctx.saved_tensors
        mean = torch.linalg.vecdot(grad, y).unsqueeze(-1) / y.shape[-1]
        return torch.addcmul(grad, y, mean, value=-1) * scale, None


def normalise(x: Tensor, eps: float) -> Tensor:
    """Divide by the root mean square over the last axis, in float32; no gain.

    References:
        Zhang & Sennrich (2019), Root Mean Square Layer Normalization.
    """
    return _Normalise.apply(x, eps)  # type: ignore[no-untyped-call]


class _Rotate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
        ctx.save_for_backward(cosine, sine)
        return _turn(x, cosine, sine)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        cosine, sine = ctx.saved_tensors
        return _turn(grads[0], cosine, -sine), None, None


def _turn(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    left, right = x.chunk(2, dim=-1)
    first = torch.addcmul(left * cosine, right, sine, value=-1)
    return torch.cat((first, torch.addcmul(right * cosine, left, sine)), dim=-1)


def rotate(x: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """Turn the two halves of each head by the position's angle.

    Args:
        x: (b, t, h, w).
        cosine: (b, t, 1, w/2).
        sine: (b, t, 1, w/2).

    References:
        Su et al. (2021), RoFormer; halves paired as transformers' Llama does.
    """
    return _Rotate.apply(x, cosine, sine)  # type: ignore[no-untyped-call]


def rotary_table(shape: Shape, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosine and sine of every position's angles: (b, t), all below t, gives two of (b, t, 1, w/2)."""
    exact = torch.float64 if dtype == torch.float64 else torch.float32
    device = positions.device
    steps = torch.arange(0, shape.head_width, 2, device=device, dtype=exact) / shape.head_width
    angles = torch.arange(positions.shape[-1], device=device)[:, None].to(exact) / shape.rope_theta**steps
    cosine, sine = (
        functional.embedding(positions, table.to(dtype)) for table in (angles.cos(), angles.sin())
    )
    return cosine[:, :, None], sine[:, :, None]


class _Gate(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, wide: Tensor) -> Tensor:
        ctx.save_for_backward(wide)
        opening, value = wide.chunk(2, dim=-1)
        return functional.silu(opening) * value

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Tensor:
        (grad,) = grads
        opening, value = ctx.saved_tensors[0].chunk(2, dim=-1)
        slope = torch.ops.aten.silu_backward(grad * value, opening)
        return torch.cat((slope, functional.silu(opening) * grad), dim=-1)


def gate(wide: Tensor) -> Tensor:
    """SiLU of the first half times the second half of the last axis.

    References:
        Shazeer (2020), GLU Variants Improve Transformer, SwiGLU.
    """
    return _Gate.apply(wide)  # type: ignore[no-untyped-call]
