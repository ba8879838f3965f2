"""Divergences that lean on both directions: skewed, skewed reverse, and adaptive KL.

p is the teacher, q the student, both softmax(logits / T); results are multiplied by T squared.
"""

from __future__ import annotations

from torch import Tensor

from kdguard.distill.objectives.checks import check_share
from kdguard.distill.objectives.divergence import log_pair
from kdguard.distill.objectives.logspace import kl, log_mixture


def skewed_kl(logits: Tensor, teacher_logits: Tensor, alpha: float = 0.1, temperature: float = 1.0) -> Tensor:
    """Skewed forward KL: KL(p || alpha p + (1 - alpha) q).

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher, shape (n, v).
        alpha: In [0, 1]. 0 is forward KL; 1 is 0 everywhere. Bounded by -log(alpha).
        temperature: T > 0.

    Returns:
        Shape (n,), nats times T squared.

    References:
        Ko et al. (2024), DistiLLM, arXiv 2402.03898 (skew KL).
    """
    check_share("alpha", alpha)
    log_q, log_p = log_pair(logits, teacher_logits, temperature)
    return kl(log_p, log_mixture(log_p, log_q, alpha)) * temperature**2


def skewed_reverse_kl(
    logits: Tensor, teacher_logits: Tensor, alpha: float = 0.1, temperature: float = 1.0
) -> Tensor:
    """Skewed reverse KL: KL(q || (1 - alpha) p + alpha q).

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher, shape (n, v).
        alpha: In [0, 1]. 0 is reverse KL; 1 is 0 everywhere. Bounded by -log(alpha), so finite for every teacher.
        temperature: T > 0.

    Returns:
        Shape (n,), nats times T squared.

    References:
        Ko et al. (2024), DistiLLM, arXiv 2402.03898 (skew reverse KL).
    """
    check_share("alpha", alpha)
    log_q, log_p = log_pair(logits, teacher_logits, temperature)
    return kl(log_q, log_mixture(log_q, log_p, alpha)) * temperature**2


def adaptive_kl(
    logits: Tensor, teacher_logits: Tensor, head: float = 0.5, temperature: float = 1.0
) -> Tensor:
    """Forward KL weighted by the misfit at the teacher's head, plus reverse KL weighted by that at its tail.

    The head is the teacher's largest entries, in falling order, while their cumulated probability stays at or below
    `head`; the largest entry always belongs to it. Misfit is the sum of |p - q|; weights are misfit over total
    misfit and carry no gradient. Where p = q both weights are 0, and so is the loss.

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher, shape (n, v).
        head: Probability held by the head, in [0, 1]. 0: the head is one entry; 1: forward KL alone (up to
            rounding of the cumulated sum).
        temperature: T > 0.

    Returns:
        Shape (n,), nats times T squared.

    References:
        Wu et al. (2024), Rethinking Kullback-Leibler Divergence in Knowledge Distillation, arXiv 2404.02657
        (adaptive KL); `head` is its mu.
    """
    check_share("head", head)
    log_q, log_p = log_pair(logits, teacher_logits, temperature)
    ordered, order = log_p.detach().exp().sort(dim=-1, descending=True, stable=True)
    misfit = (ordered - log_q.detach().exp().gather(-1, order)).abs()
    in_head = ordered.cumsum(dim=-1) <= head
    at_head = (misfit * in_head).sum(dim=-1) + misfit[..., 0] * ~in_head[..., 0]
    total = misfit.sum(dim=-1)
    share = at_head / total.clamp_min(1e-12)
    rest = (total - at_head) / total.clamp_min(1e-12)
    return (share * kl(log_p, log_q) + rest * kl(log_q, log_p)) * temperature**2
