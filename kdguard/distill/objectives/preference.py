"""Learning which of two responses the teacher prefers."""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_positive, check_same_shape
from kdguard.distill.objectives.text import cross_entropy


def sequence_logprob(logits: Tensor, target_ids: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of whole responses: the sum over their supervised positions.

    Args:
        logits: Shape (b, t, v); position i predicts `target_ids` at i (already shifted).
        target_ids: Shape (b, t); anything in [0, v) where the mask is False.
        mask: Supervised positions, bool, shape (b, t).

    Returns:
        Shape (b,), nats, at most 0; 0 for a row without supervised positions.
    """
    check_same_shape(target_ids=target_ids, mask=mask)
    return -torch.where(mask, cross_entropy(logits, target_ids), 0.0).sum(dim=-1)


def preference_margin(
    chosen_logprob: Tensor, rejected_logprob: Tensor, reference_chosen: Tensor, reference_rejected: Tensor
) -> Tensor:
    """How much more than the reference the student prefers the chosen response; log-ratio in nats, shape (b,)."""
    check_same_shape(
        chosen_logprob=chosen_logprob,
        rejected_logprob=rejected_logprob,
        reference_chosen=reference_chosen,
        reference_rejected=reference_rejected,
    )
    return (chosen_logprob - reference_chosen) - (rejected_logprob - reference_rejected)


def dpo(
    chosen_logprob: Tensor,
    rejected_logprob: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    beta: float = 0.1,
) -> Tensor:
    """Direct preference optimisation: -log sigmoid(beta * margin).

    Args:
        chosen_logprob: Student's log-probability of the preferred responses, shape (b,), nats.
        rejected_logprob: Student's, of the others, shape (b,).
        reference_chosen: Frozen reference's, of the preferred responses, shape (b,). Zeros give no reference.
        reference_rejected: Frozen reference's, of the others, shape (b,).
        beta: Above 0; larger keeps the student nearer to the reference. Towards 0 the loss is log 2 everywhere.

    Returns:
        Shape (b,), nats; log 2 where the student is the reference.

    References:
        Rafailov et al. (2023), Direct Preference Optimization, arXiv 2305.18290, eq. 7.
    """
    check_positive("beta", beta)
    margin = preference_margin(chosen_logprob, rejected_logprob, reference_chosen, reference_rejected)
    return torch.nn.functional.softplus(-beta * margin)


def ipo(
    chosen_logprob: Tensor,
    rejected_logprob: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    tau: float = 0.1,
) -> Tensor:
    """Identity preference optimisation: (margin - 1 / (2 tau)) squared.

    Unlike DPO it has a finite optimum, so clear-cut preferences do not drive the student off.

    Args:
        chosen_logprob: Student's log-probability of the preferred responses, shape (b,), nats.
        rejected_logprob: Student's, of the others, shape (b,).
        reference_chosen: Frozen reference's, of the preferred responses, shape (b,).
        reference_rejected: Frozen reference's, of the others, shape (b,).
        tau: Above 0; larger wants a smaller margin.

    Returns:
        Shape (b,), squared nats; 1 / (4 tau squared) where the student is the reference.

    References:
        Azar et al. (2024), A General Theoretical Paradigm to Understand Learning from Human Preferences,
        arXiv 2310.12036, eq. 17.
    """
    check_positive("tau", tau)
    margin = preference_margin(chosen_logprob, rejected_logprob, reference_chosen, reference_rejected)
    return (margin - 1 / (2 * tau)) ** 2
