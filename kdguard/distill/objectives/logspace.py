"""Distributions as log-probabilities: widening, tempering, mixing, and the divergence between two.

Letters used by all objectives: n positions, v vocabulary entries, k listed alternatives, c classes, b sequences,
t tokens, m models, d dimensions. Functions work on the last axis (or the last two where they say so), so further
axes may stand in front: a fleet passes (slots, n, v) where the text says (n, v). Losses are in nats unless said.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_positive


def widened(values: Tensor) -> Tensor:
    """Half-precision values as float32; float32 and float64 as they are, so that sums keep their digits."""
    return values.float() if values.dtype in (torch.float16, torch.bfloat16) else values


def log_probabilities(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Log of softmax(logits / temperature), at least float32.

    Args:
        logits: Shape (n, v); -inf excludes an entry, a row of only -inf gives NaN.
        temperature: Above 0; larger is flatter.

    Returns:
        Shape (n, v), nats.
    """
    check_positive("temperature", temperature)
    wide = widened(logits)
    return torch.log_softmax(wide if temperature == 1.0 else wide / temperature, dim=-1)


def log_mixture(left: Tensor, right: Tensor, share: float) -> Tensor:
    """Log of share * exp(left) + (1 - share) * exp(right), entry by entry.

    Args:
        left: Log-probabilities, any shape.
        right: Log-probabilities, same shape.
        share: Weight of `left`, in [0, 1]; 0 gives `right`, 1 gives `left`.
    """
    if share == 0:
        return right
    if share == 1:
        return left
    return torch.logaddexp(floored(left) + math.log(share), floored(right) + math.log1p(-share))


def floored(log_p: Tensor) -> Tensor:
    """Log-probabilities with -inf as a finite floor, whose exponential and gradient are 0.

    A log-sum-exp of nothing but -inf has the gradient NaN.
    """
    return log_p.clamp_min(torch.finfo(log_p.dtype).min / 4)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Kullback-Leibler divergence KL(p || q) = sum p (log p - log q), in nats.

    Args:
        log_p: Log-probabilities, shape (n, v). Entries with p = 0 count nothing, whatever q is there.
        log_q: Log-probabilities, shape (n, v). Infinite where q = 0 and p > 0.

    Returns:
        Shape (n,).
    """
    gap = torch.where(torch.isneginf(log_p), 0.0, log_p - log_q)
    return (log_p.exp() * gap).sum(dim=-1)


def pick(values: Tensor, ids: Tensor) -> Tensor:
    """Entries of the last axis by id: values (n, v), ids (n, k) of any integer type give (n, k)."""
    return values.gather(-1, ids.long())
