"""Divergences between the student's and the teacher's whole distribution, position by position.

p is the teacher, q the student, both softmax(logits / T). Divergences in nats are multiplied by T squared, because the
gradient of softmax(z / T) with respect to z shrinks with 1/T squared (Hinton et al. 2015): losses of
different temperatures keep one size. At T = 1 they are the plain divergences, fit for reports too.
Teacher logits may also be log-probabilities.
"""

from __future__ import annotations

from torch import Tensor

from kdguard.distill.objectives.checks import check_one_vocabulary, check_share
from kdguard.distill.objectives.logspace import kl, log_mixture, log_probabilities


def log_pair(logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Tempered log-probabilities (student, teacher), both (n, v); InputError when the vocabularies differ."""
    check_one_vocabulary(logits, teacher_logits)
    return log_probabilities(logits, temperature), log_probabilities(teacher_logits, temperature)


def forward_kl(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """T squared times KL(p || q): the student covers all that the teacher may say.

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher, shape (n, v). -inf excludes an entry.
        temperature: T > 0. As T grows the loss tends to half the mean squared difference of the centred logits
            (Hinton et al. 2015).

    Returns:
        Shape (n,), nats times T squared; gradient T (q - p).

    References:
        Hinton, Vinyals and Dean (2015), arXiv 1503.02531.
    """
    log_q, log_p = log_pair(logits, teacher_logits, temperature)
    return kl(log_p, log_q) * temperature**2


def reverse_kl(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """T squared times KL(q || p): the student avoids all that the teacher would not say.

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher, shape (n, v). Infinite loss where the teacher has -inf and the student has not.
        temperature: T > 0.

    Returns:
        Shape (n,), nats times T squared.

    References:
        Gu et al. (2024), MiniLLM, arXiv 2306.08543, at one position. Its policy gradient over whole
        sequences differs: here the sampling of the text is not differentiated.
    """
    log_q, log_p = log_pair(logits, teacher_logits, temperature)
    return kl(log_q, log_p) * temperature**2


def jensen_shannon(
    logits: Tensor, teacher_logits: Tensor, beta: float = 0.5, temperature: float = 1.0
) -> Tensor:
    """Generalised Jensen-Shannon divergence: beta KL(p || m) + (1 - beta) KL(q || m), m = beta p + (1 - beta) q.

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher, shape (n, v).
        beta: In [0, 1]. By convention 0 gives forward KL and 1 reverse KL, the limits of the divergence over
            beta (1 - beta); the plain formula would give 0 at both ends. So the value jumps at the ends: near
            them it is about beta times forward KL, or 1 - beta times reverse KL. Bounded by log 2 at 0.5.
        temperature: T > 0; the result is multiplied by T squared.

    Returns:
        Shape (n,), nats times T squared.

    References:
        Agarwal et al. (2024), GKD, arXiv 2306.13649 (generalised JSD) and its limits.
    """
    check_share("beta", beta)
    if beta == 0:
        return forward_kl(logits, teacher_logits, temperature)
    if beta == 1:
        return reverse_kl(logits, teacher_logits, temperature)
    log_q, log_p = log_pair(logits, teacher_logits, temperature)
    middle = log_mixture(log_p, log_q, beta)
    return (beta * kl(log_p, middle) + (1 - beta) * kl(log_q, middle)) * temperature**2


def total_variation(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Total variation distance: half the sum of |p - q|.

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher, shape (n, v).
        temperature: T > 0. Not multiplied by T squared: it is a distance, and its gradient shrinks with 1/T.

    Returns:
        Shape (n,), from 0 (equal) to 1 (nothing in common); no unit. Entries with p = q give no gradient.

    References:
        Wen et al. (2023), f-Divergence Minimization for Sequence-Level Knowledge Distillation, arXiv 2307.15190.
    """
    log_q, log_p = log_pair(logits, teacher_logits, temperature)
    return (log_p.exp() - log_q.exp()).abs().sum(dim=-1) / 2
