"""Learning from text alone: the teacher's tokens are the targets (sequence-level distillation, SFT)."""

from __future__ import annotations

from torch import Tensor

from kdguard.distill.objectives.logspace import log_probabilities, pick


def cross_entropy(logits: Tensor, target_ids: Tensor) -> Tensor:
    """Negative log-likelihood of the teacher's token at each position.

    Args:
        logits: Student, shape (n, v).
        target_ids: Token that follows, shape (n,), in [0, v). Positions that teach nothing are left out
            beforehand: there is no ignored id here.

    Returns:
        Shape (n,), nats; 0 when the student is certain and right.

    References:
        Kim and Rush (2016), Sequence-Level Knowledge Distillation, arXiv 1606.07947: on text sampled or decoded
        from the teacher this is sequence-level distillation.
    """
    return -pick(log_probabilities(logits), target_ids.unsqueeze(-1)).squeeze(-1)
