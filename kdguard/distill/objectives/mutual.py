"""Online distillation: peers without a teacher learn from the data and from each other."""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.logspace import kl, log_probabilities
from kdguard.distill.objectives.text import cross_entropy
from kdguard.errors import InputError


def mutual(logits: Tensor, target_ids: Tensor, temperature: float = 1.0, weight: float = 1.0) -> Tensor:
    """For each peer i: cross-entropy + weight * T squared * mean over the other peers j of KL(p_j || p_i).

    Peers are targets for each other, not paths of gradient: p_j is held fixed in the loss of peer i, so the sum over
    peers trains every peer on its own loss alone.

    Args:
        logits: m peers, shape (m, n, v), m at least 2.
        target_ids: Shape (n,).
        temperature: T > 0 of the divergence.
        weight: At least 0. 0 trains the peers independently.

    Returns:
        Shape (m, n), nats.

    Raises:
        InputError: fewer than two peers.

    References:
        Zhang et al. (2018), Deep Mutual Learning, arXiv 1706.00384; with more than two peers, the mean over the others.
    """
    m = logits.shape[0]
    if m < 2:
        raise InputError(f"Mutual learning needs at least 2 peers, got {m}.")
    hard = cross_entropy(logits, target_ids.expand(m, *target_ids.shape))
    own = log_probabilities(logits, temperature)
    fixed = own.detach()
    # A loop over pairs: peers are few, and (m, m, n, v) at once would not fit.
    pull = [
        sum((kl(fixed[j], own[i]) for j in range(m) if j != i), torch.zeros_like(hard[i])) for i in range(m)
    ]
    return hard + weight * temperature**2 / (m - 1) * torch.stack(pull)
