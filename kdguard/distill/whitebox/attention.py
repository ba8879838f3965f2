"""Matching attention maps, query by query."""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_same_shape
from kdguard.distill.objectives.logspace import widened
from kdguard.distill.whitebox.consent import OwnerConsent, require_consent
from kdguard.errors import InputError


def attention_mse(
    attention: Tensor,
    teacher_attention: Tensor,
    key_mask: Tensor | None = None,
    *,
    owner_consent: OwnerConsent | None,
) -> Tensor:
    """Mean squared difference of attention maps, over heads and visible keys.

    Args:
        attention: Student, shape (b, h, t, t): queries, then keys. Scores before the softmax, as the paper prefers,
            or probabilities; the same kind on both sides.
        teacher_attention: Teacher, same shape; fixed, no gradient.
        key_mask: Which keys a query sees, bool, broadcastable to (b, h, t, t): causal, padding or both. None: all.
        owner_consent: Declaration of owning the teacher.

    Returns:
        Loss of each query, shape (b, t); 0 for a query that sees nothing.

    Raises:
        OwnershipError: no consent.
        InputError: shapes differ, as with another number of heads.

    References:
        Jiao et al. (2020), TinyBERT, arXiv 1909.10351, whose loss is its mean over queries.
    """
    require_consent(owner_consent, "attention_mse")
    mine, theirs, seen = _maps(attention, teacher_attention, key_mask)
    # Hidden scores may be -inf on both sides; their difference must not enter the sum.
    gap = torch.where(seen, mine, 0.0) - torch.where(seen, theirs, 0.0)
    return gap.square().sum(dim=(-3, -1)) / seen.sum(dim=(-3, -1)).clamp_min(1)


def attention_kl(
    attention: Tensor,
    teacher_attention: Tensor,
    key_mask: Tensor | None = None,
    *,
    owner_consent: OwnerConsent | None,
) -> Tensor:
    """KL(teacher || student) between attention distributions, mean over heads.

    Args:
        attention: Student's probabilities over keys, shape (b, h, t, t). Below 1e-12 they count as 1e-12, so the
            loss stays finite where they underflow.
        teacher_attention: Teacher's, same shape; fixed.
        key_mask: Which keys a query sees, bool, broadcastable to (b, h, t, t). None: all.
        owner_consent: Declaration of owning the teacher.

    Returns:
        Loss of each query, shape (b, t), nats; 0 for a query that sees nothing.

    Raises:
        OwnershipError: no consent.
        InputError: shapes differ.

    References:
        Wang et al. (2020), MiniLM, arXiv 2002.10957 (self-attention distribution transfer).
    """
    require_consent(owner_consent, "attention_kl")
    mine, theirs, seen = _maps(attention, teacher_attention, key_mask)
    log_mine = torch.where(seen, mine, 1.0).clamp_min(1e-12).log()
    share = torch.where(seen, theirs, 0.0)
    return (torch.xlogy(share, share) - share * log_mine).sum(dim=-1).mean(dim=-2)


def _maps(mine: Tensor, theirs: Tensor, key_mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    check_same_shape(attention=mine, teacher_attention=theirs)
    if mine.ndim != 4:
        raise InputError(f"Attention maps must have the shape (b, h, t, t), got {tuple(mine.shape)}.")
    blank = torch.ones((), dtype=torch.bool, device=mine.device)
    seen = (blank if key_mask is None else key_mask).expand(mine.shape)
    return widened(mine), widened(theirs).detach(), seen
