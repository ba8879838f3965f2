"""Matching how examples relate to each other, so widths need not agree and no projection is learnt.

Relations join positions, so these are losses of a batch, one number each: cutting the batch into micro-batches drops
the relations across the cuts and changes the loss.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.logspace import widened
from kdguard.distill.whitebox.consent import OwnerConsent, require_consent
from kdguard.errors import InputError


def rkd_distance(
    embeddings: Tensor, teacher_embeddings: Tensor, *, owner_consent: OwnerConsent | None
) -> Tensor:
    """Huber loss between pairwise distances, each side in units of its own mean distance.

    Args:
        embeddings: Student, shape (n, d_s).
        teacher_embeddings: Teacher of the same examples, shape (n, d_t); fixed, no gradient.
        owner_consent: Declaration of owning the teacher.

    Returns:
        A scalar, no unit; unchanged when either side is moved, turned or scaled. 0 when n < 2.

    Raises:
        OwnershipError: no consent.
        InputError: another number of examples on either side.

    References:
        Park et al. (2019), Relational Knowledge Distillation, arXiv 1904.05068 (distance-wise loss), as
        the mean over pairs of distinct examples.
    """
    require_consent(owner_consent, "rkd_distance")
    mine, theirs = _examples(embeddings, teacher_embeddings)
    if mine.shape[0] < 2:
        return mine.sum() * 0.0
    return torch.nn.functional.smooth_l1_loss(_relative_distances(mine), _relative_distances(theirs))


def rkd_angle(
    embeddings: Tensor, teacher_embeddings: Tensor, *, owner_consent: OwnerConsent | None
) -> Tensor:
    """Huber loss between the cosines of the angles that every three examples form.

    Args:
        embeddings: Student, shape (n, d_s). Memory grows with n cubed.
        teacher_embeddings: Teacher of the same examples, shape (n, d_t); fixed.
        owner_consent: Declaration of owning the teacher.

    Returns:
        A scalar, no unit; unchanged when either side is moved, turned or scaled. 0 when n < 3.

    Raises:
        OwnershipError: no consent.
        InputError: another number of examples on either side.

    References:
        Park et al. (2019), arXiv 1904.05068 (angle-wise loss), as the mean over triples of distinct
        examples.
    """
    require_consent(owner_consent, "rkd_angle")
    mine, theirs = _examples(embeddings, teacher_embeddings)
    n = mine.shape[0]
    if n < 3:
        return mine.sum() * 0.0
    gaps = torch.nn.functional.smooth_l1_loss(_cosines(mine), _cosines(theirs), reduction="none")
    same = torch.eye(n, dtype=torch.bool, device=mine.device)
    # Axes: corner j, then the two others i and k.
    distinct = ~(same.unsqueeze(2) | same.unsqueeze(1) | same.unsqueeze(0))
    return torch.where(distinct, gaps, 0.0).sum() / (n * (n - 1) * (n - 2))


def gram_similarity(
    embeddings: Tensor, teacher_embeddings: Tensor, *, owner_consent: OwnerConsent | None
) -> Tensor:
    """Mean squared difference of the examples' Gram matrices, rows scaled to length 1.

    Args:
        embeddings: Student, shape (n, d_s).
        teacher_embeddings: Teacher of the same examples, shape (n, d_t); fixed.
        owner_consent: Declaration of owning the teacher.

    Returns:
        A scalar, no unit; unchanged when either side is turned or scaled. 0 when n = 0.

    Raises:
        OwnershipError: no consent.
        InputError: another number of examples on either side.

    References:
        Tung and Mori (2019), Similarity-Preserving Knowledge Distillation, arXiv 1907.09682.
    """
    require_consent(owner_consent, "gram_similarity")
    mine, theirs = _examples(embeddings, teacher_embeddings)
    if mine.shape[0] == 0:
        return mine.sum()
    rows = [torch.nn.functional.normalize(side @ side.T, dim=-1) for side in (mine, theirs)]
    return (rows[0] - rows[1]).square().mean()


def flow_gram(
    lower: Tensor,
    upper: Tensor,
    teacher_lower: Tensor,
    teacher_upper: Tensor,
    *,
    owner_consent: OwnerConsent | None,
) -> Tensor:
    """Mean squared difference of the Gram matrices between two layers: how features turn into features.

    Args:
        lower: Student's states at a lower layer, shape (n, d_1).
        upper: Student's at an upper layer, shape (n, d_2).
        teacher_lower: Teacher's, shape (n, d_1); fixed. Widths must agree with the student's.
        teacher_upper: Teacher's, shape (n, d_2); fixed.
        owner_consent: Declaration of owning the teacher.

    Returns:
        A scalar, fourth power of the states' unit; 0 when n = 0.

    Raises:
        OwnershipError: no consent.
        InputError: widths differ.

    References:
        Yim et al. (2017), A Gift from Knowledge Distillation, CVPR (flow of solution procedure).
    """
    require_consent(owner_consent, "flow_gram")
    if lower.shape != teacher_lower.shape or upper.shape != teacher_upper.shape:
        raise InputError(
            "flow_gram needs student and teacher layers of the same widths; use gram_similarity otherwise."
        )
    n = max(lower.shape[0], 1)
    mine = widened(lower).T @ widened(upper) / n
    theirs = (widened(teacher_lower).T @ widened(teacher_upper) / n).detach()
    return (mine - theirs).square().mean()


def _examples(mine: Tensor, theirs: Tensor) -> tuple[Tensor, Tensor]:
    if mine.ndim != 2 or theirs.ndim != 2 or mine.shape[0] != theirs.shape[0]:
        raise InputError(
            "Relations need embeddings (n, d) of the same n examples on both sides, "
            f"got {tuple(mine.shape)} and {tuple(theirs.shape)}."
        )
    return widened(mine), widened(theirs).detach()


def _relative_distances(examples: Tensor) -> Tensor:
    """Distances of all pairs over their mean, shape (n (n - 1) / 2,); all 0 when the examples coincide."""
    n = examples.shape[0]
    first, second = torch.triu_indices(n, n, offset=1, device=examples.device)
    squares = (examples[first] - examples[second]).square().sum(dim=-1)
    # The square root has no gradient at 0, where examples coincide.
    distances = torch.where(squares > 0, squares.clamp_min(1e-30).sqrt(), 0.0)
    return distances / distances.mean().clamp_min(1e-12)


def _cosines(examples: Tensor) -> Tensor:
    """Cosine of the angle at example j between i and k, shape (n, n, n) with j first."""
    arms = examples.unsqueeze(0) - examples.unsqueeze(1)
    directions = torch.nn.functional.normalize(arms, dim=-1)
    return directions @ directions.transpose(-1, -2)
