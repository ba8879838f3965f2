"""Distilling Step-by-Step: one student learns the label and, as a second task, the rationale behind it."""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_same_shape
from kdguard.distill.objectives.text import cross_entropy
from kdguard.errors import InputError


def step_by_step(
    logits: Tensor,
    target_ids: Tensor,
    is_rationale: Tensor,
    rationale_weight: float = 1.0,
    label_count: int | None = None,
    rationale_count: int | None = None,
) -> Tensor:
    """Cross-entropy whose positions are weighted so that their mean is L_label + lambda L_rationale.

    Both tasks are sequences of their own (the same input behind two task prefixes), packed into one batch. The paper
    averages each task by itself. Give the counts of the whole optimiser batch and a label position weighs
    total / label_count, a rationale position lambda total / rationale_count, so that the sum over the total is
    exactly that, in one batch or in many. Without counts a position weighs 1 or lambda, and long rationales outweigh
    short labels.

    Args:
        logits: Student, shape (n, v).
        target_ids: Shape (n,).
        is_rationale: Which positions belong to the rationale task, bool, shape (n,).
        rationale_weight: lambda, at least 0. At 0 only labels are learnt, which is standard distillation.
        label_count: Label positions of the whole optimiser batch, with `rationale_count`.
        rationale_count: Rationale positions of the whole optimiser batch. A task of count 0 adds nothing.

    Returns:
        Shape (n,), nats.

    References:
        Hsieh et al. (2023), Distilling Step-by-Step, arXiv 2305.02301 (L = L_label + lambda L_rationale).
    """
    if rationale_weight < 0:
        raise InputError(f"'rationale_weight' must be at least 0, got {rationale_weight}.")
    check_same_shape(target_ids=target_ids, is_rationale=is_rationale)
    label, rationale = _task_weights(label_count, rationale_count)
    losses = cross_entropy(logits, target_ids)
    return losses * torch.where(is_rationale, rationale_weight * rationale, label).to(losses.dtype)


def _task_weights(label_count: int | None, rationale_count: int | None) -> tuple[float, float]:
    if (label_count is None) != (rationale_count is None):
        raise InputError("'label_count' and 'rationale_count' must be given together or not at all.")
    if label_count is None or rationale_count is None:
        return 1.0, 1.0
    total = label_count + rationale_count
    return total / max(label_count, 1), total / max(rationale_count, 1)
