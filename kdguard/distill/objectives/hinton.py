"""The classic mix: soft targets at a temperature, plus cross-entropy on the hard ones."""

from __future__ import annotations

from torch import Tensor

from kdguard.distill.objectives.checks import check_share
from kdguard.distill.objectives.divergence import forward_kl
from kdguard.distill.objectives.logspace import widened
from kdguard.distill.objectives.text import cross_entropy


def hinton(
    logits: Tensor, teacher_logits: Tensor, target_ids: Tensor, temperature: float = 2.0, weight: float = 0.5
) -> Tensor:
    """Soft and hard targets: weight * T squared * KL(p_T || q_T) + (1 - weight) * cross-entropy at T = 1.

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher, shape (n, v).
        target_ids: Hard targets, shape (n,).
        temperature: T > 0.
        weight: Share of the soft loss, in [0, 1]. 0 is cross-entropy, 1 forward KL.

    Returns:
        Shape (n,), nats.

    References:
        Hinton, Vinyals and Dean (2015), arXiv 1503.02531. KL differs from the paper's soft
        cross-entropy by the teacher's entropy, which has no gradient and makes 0 the optimum.
    """
    check_share("weight", weight)
    soft = forward_kl(logits, teacher_logits, temperature)
    return weight * soft + (1 - weight) * cross_entropy(logits, target_ids)


def standardised(logits: Tensor) -> Tensor:
    """Logits with mean 0 and standard deviation 1 over the vocabulary; an optional step before any divergence.

    The student then need not copy the range of the teacher's logits, only their shape.

    Args:
        logits: Shape (n, v), v > 1; finite (excluded entries cannot be standardised).

    Returns:
        Shape (n, v). A row of equal logits gives zeros.

    References:
        Sun et al. (2024), Logit Standardization in Knowledge Distillation, arXiv 2403.01427.
    """
    wide = widened(logits)
    centred = wide - wide.mean(dim=-1, keepdim=True)
    variance = centred.square().mean(dim=-1, keepdim=True)
    return centred / variance.clamp_min(1e-14).sqrt()
