"""Several teachers at once: their distributions are mixed, and the student follows the mixture.

The mixtures are log-probabilities and may be given to any divergence as `teacher_logits`. Teachers must share the
student's vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_one_vocabulary
from kdguard.distill.objectives.logspace import floored, kl, log_probabilities, widened
from kdguard.errors import InputError


def mixed_teacher(teacher_logits: Tensor, weights: Tensor, temperature: float = 1.0) -> Tensor:
    """Log of the weighted mean of the teachers' tempered distributions.

    Args:
        teacher_logits: m teachers, shape (m, n, v).
        weights: Share of each teacher at each position, shape (n, m), at least 0, not all 0; rows are renormalised.
            Gradients reach them.
        temperature: T > 0, applied to each teacher before mixing.

    Returns:
        Log-probabilities, shape (n, v), nats.
    """
    if weights.shape != (*teacher_logits.shape[1:-1], teacher_logits.shape[0]):
        raise InputError(
            f"'weights' must hold one share per position and teacher, (n, m), got {tuple(weights.shape)} "
            f"for teacher logits (m, n, v) of {tuple(teacher_logits.shape)}."
        )
    wide = widened(weights)
    shares = (wide / wide.sum(dim=-1, keepdim=True)).movedim(-1, 0).unsqueeze(-1)
    log_p = floored(log_probabilities(teacher_logits, temperature))
    # Away from 0 the log has a finite gradient; a share of 0 becomes e**-87 instead.
    return (log_p + shares.clamp_min(torch.finfo(shares.dtype).tiny).log()).logsumexp(dim=0)


def mean_weights(teacher_logits: Tensor) -> Tensor:
    """Equal shares: logits (m, n, v) give weights (n, m)."""
    m = teacher_logits.shape[0]
    shape = (*teacher_logits.shape[1:-1], m)
    return widened(teacher_logits).new_full(shape, 1 / m)


def gated_weights(gate_logits: Tensor) -> Tensor:
    """Shares chosen by a gate: gate logits (n, m), learnt or computed, give weights (n, m).

    References:
        Jacobs et al. (1991), Adaptive Mixtures of Local Experts, for the softmax gate.
    """
    return log_probabilities(gate_logits).exp()


def domain_weights(domain: Tensor, shares: Tensor) -> Tensor:
    """Shares by domain: domain of each position (n,) and a table (domains, m) give weights (n, m).

    A table of zeros and ones gives each domain one expert of its own.
    """
    return shares[domain.long()]


def multi_teacher_kl(
    logits: Tensor, teacher_logits: Tensor, weights: Tensor, temperature: float = 1.0
) -> Tensor:
    """T squared times KL(mixture of teachers || q).

    Args:
        logits: Student, shape (n, v).
        teacher_logits: m teachers, shape (m, n, v).
        weights: Shape (n, m), from `mean_weights`, `gated_weights` or `domain_weights`.
        temperature: T > 0; teachers are tempered, then mixed.

    Returns:
        Shape (n,), nats times T squared. With one teacher it is forward KL. At most the weighted mean of the single
        forward KLs, and with the same gradient for the student: only a learnt gate feels the difference.

    References:
        You et al. (2017), Learning from Multiple Teacher Networks, KDD (mean of softened outputs).
    """
    check_one_vocabulary(logits, teacher_logits)
    mixture = mixed_teacher(teacher_logits, weights, temperature)
    return kl(mixture, log_probabilities(logits, temperature)) * temperature**2
