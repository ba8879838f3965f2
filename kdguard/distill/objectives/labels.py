"""Learning a classifier from the labels or the class probabilities that an API gives."""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_positive, check_same_shape
from kdguard.distill.objectives.logspace import log_probabilities, widened
from kdguard.distill.objectives.text import cross_entropy


def hard_label(logits: Tensor, labels: Tensor) -> Tensor:
    """Cross-entropy on the teacher's label.

    Args:
        logits: Student, shape (n, c).
        labels: Class the teacher named, shape (n,), in [0, c).

    Returns:
        Shape (n,), nats.

    References:
        Orekondy, Schiele and Fritz (2019), Knockoff Nets, arXiv 1812.02766, with argmax answers.
    """
    return cross_entropy(logits, labels)


def soft_label(logits: Tensor, label_probs: Tensor, temperature: float = 1.0) -> Tensor:
    """T squared times KL(p_T || q_T) against class probabilities as an API prints them.

    Args:
        logits: Student, shape (n, c).
        label_probs: Teacher's probabilities, shape (n, c), at least 0. Rows are renormalised, so rounded values and
            answers of the top classes only (the others 0) may be given; a row of zeros teaches nothing and gives 0.
        temperature: T > 0, applied to both sides: p_T is p ** (1/T), renormalised.

    Returns:
        Shape (n,), nats times T squared; gradient T (q - p).

    References:
        Tramer et al. (2016), arXiv 1609.02943; Hinton et al. (2015) for T.
    """
    check_positive("temperature", temperature)
    check_same_shape(logits=logits, label_probs=label_probs)
    log_q = log_probabilities(logits, temperature)
    powers = widened(label_probs).to(log_q.dtype).clamp_min(0) ** (1 / temperature)
    share = powers / powers.sum(dim=-1, keepdim=True).clamp_min(torch.finfo(log_q.dtype).tiny)
    return (torch.xlogy(share, share) - share * log_q).sum(dim=-1) * temperature**2
