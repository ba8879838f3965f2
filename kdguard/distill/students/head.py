"""The vocabulary head and its losses in one pass, chunk by chunk, without ever holding a teacher-sized tensor.

Each chunk of positions is projected, turned into the gradient of its logits, and used up by two more products before
the next begins: nothing of size (n, v) outlives its chunk, and no product is done twice. A chunk as long as the batch
is the ordinary dense head; `chunk_length` chooses by size.
Letters: m slots, n positions, c positions of a chunk, v vocabulary, k listed tokens, d hidden width.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

CPU_CHUNK_BYTES = 2 << 20  # logits of a chunk stay in a core's cache between passes
GPU_CHUNK_BYTES = 1 << 30


class Targets(NamedTuple):
    """What the positions are to be taught. Every field but the last has the leading axes (m, n).

    Attributes:
        token: (m, n) int64, the token that follows.
        weight: (m, n), weight of the text loss, already divided by the batch's count; 0 = not taught.
        ids: (m, n, k) int64 listed tokens, below 0 = padding. None without soft targets.
        logprobs: (m, n, k) float32, teacher's log-probabilities, -inf at padding.
        tail: (m, n) float32, probability that the teacher gives to all other tokens.
        soft_weight: (m, n), weight of the soft loss, already divided; 0 where there is no soft target.
        temperature: (m, 1), of the soft loss.
    """

    token: Tensor
    weight: Tensor
    ids: Tensor | None = None
    logprobs: Tensor | None = None
    tail: Tensor | None = None
    soft_weight: Tensor | None = None
    temperature: Tensor | None = None

    def part(self, start: int, stop: int) -> Targets:
        """The targets of positions `start` to `stop`."""
        return Targets(
            self.token[:, start:stop],
            self.weight[:, start:stop],
            _cut(self.ids, start, stop),
            _cut(self.logprobs, start, stop),
            _cut(self.tail, start, stop),
            _cut(self.soft_weight, start, stop),
            self.temperature,
        )


def _cut(field: Tensor | None, start: int, stop: int) -> Tensor | None:
    return None if field is None else field[:, start:stop]


class Losses(NamedTuple):
    """Weighted sums over the positions of each slot, (m,), nats.

    Attributes:
        total: What is differentiated.
        text: Its share from the text; for reports.
        soft: Its share from the soft targets; for reports.
    """

    total: Tensor
    text: Tensor
    soft: Tensor


class Slope(NamedTuple):
    """Losses of a chunk, (m,) each, and the gradient of their sum with respect to the logits, (m, c, v)."""

    text: Tensor
    soft: Tensor
    logits: Tensor


Gradient = Callable[[Tensor, Targets], Slope]
"""From the logits (m, c, v) of a chunk, which it may overwrite, and its targets, to losses and gradient."""


def chunk_length(slots: int, positions: int, vocab: int, device: torch.device) -> int:
    """Positions a slot that are projected at once, so that float32 logits of a chunk fit the device's allowance."""
    allowance = CPU_CHUNK_BYTES if device.type == "cpu" else GPU_CHUNK_BYTES
    fitting = max(16, allowance // (4 * slots * vocab))
    pieces = max(1, -(-positions // fitting))
    return max(1, -(-positions // pieces))


def head_losses(
    hidden: Tensor, head: Tensor, targets: Targets, gradient: Gradient, chunk: int | None = None
) -> Losses:
    """Losses of a vocabulary head.

    Args:
        hidden: (m, n, d).
        head: (m, v, d), of the same type.
        targets: What to teach, with weights that already hold the division by the batch's count.
        gradient: The objective: `sparse_slope`, or one made by `dense_slope`.
        chunk: Positions at once; by default by size.

    Returns:
        Sums a slot; `total` is differentiable in `hidden` and `head`.
    """
    chunk = chunk or chunk_length(hidden.shape[0], hidden.shape[1], head.shape[1], hidden.device)
    return Losses(*_Head.apply(hidden, head, targets, gradient, chunk))  # type: ignore[no-untyped-call]


def dense_slope(losses: Callable[[Tensor, Targets], tuple[Tensor, Tensor]]) -> Gradient:
    """The gradient of any loss of the logits, by autograd on one chunk at a time.

    Args:
        losses: From logits (m, c, v) and targets to weighted sums a slot, (m,) each: text, and soft.
    """

    def gradient(logits: Tensor, targets: Targets) -> Slope:
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            text, soft = losses(leaf, targets)
            (slope,) = torch.autograd.grad((text + soft).sum(), leaf)
        return Slope(text.detach(), soft.detach(), slope)

    return gradient


class _Head(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, head: Tensor, targets: Targets, gradient: Gradient, chunk: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        text, soft, to_hidden, to_head = _sweep(hidden, head, targets, gradient, chunk)
        ctx.save_for_backward(to_hidden, to_head)
        ctx.mark_non_differentiable(text, soft)
        return text + soft, text, soft

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        to_hidden, to_head = ctx.saved_tensors
        scale = grads[0][:, None, None]
        return (
            (to_hidden * scale).to(to_hidden.dtype),
            (to_head * scale).to(to_hidden.dtype),
            None,
            None,
            None,
        )


def _sweep(
    hidden: Tensor, head: Tensor, targets: Targets, gradient: Gradient, chunk: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Text and soft losses a slot, and the gradients of their sum with respect to hidden states and head."""
    positions = hidden.shape[1]
    slopes: list[Slope] = []
    to_hidden: list[Tensor] = []
    to_head = torch.zeros(
        head.shape, dtype=torch.promote_types(head.dtype, torch.float32), device=head.device
    )
    for start in range(0, positions, chunk):
        stop = min(start + chunk, positions)
        piece = hidden[:, start:stop]
        slope = gradient(torch.bmm(piece, head.mT), targets.part(start, stop))
        steep = slope.logits.to(hidden.dtype)
        to_hidden.append(torch.bmm(steep, head))
        if to_head.dtype == piece.dtype:
            to_head.baddbmm_(steep.mT, piece)
        else:
            to_head += torch.bmm(steep.mT, piece)
        slopes.append(slope._replace(logits=slope.text))  # the chunk's logits are let go
    text = torch.stack([slope.text for slope in slopes]).sum(0)
    soft = torch.stack([slope.soft for slope in slopes]).sum(0)
    return text, soft, torch.cat(to_hidden, dim=1), to_head
