"""Matching hidden states and embeddings, position by position."""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.logspace import widened
from kdguard.distill.whitebox.consent import OwnerConsent, require_consent
from kdguard.errors import InputError


def hidden_mse(
    hidden: Tensor,
    teacher_hidden: Tensor,
    projection: Tensor | None = None,
    *,
    owner_consent: OwnerConsent | None,
) -> Tensor:
    """Mean squared difference of hidden states, over the teacher's dimensions.

    Args:
        hidden: Student, shape (n, d_s).
        teacher_hidden: Teacher, shape (n, d_t); fixed, no gradient.
        projection: Learnt matrix from the student's space to the teacher's, shape (d_s, d_t); needed when they
            differ.
        owner_consent: Declaration of owning the teacher.

    Returns:
        Shape (n,), squared units of the teacher's states.

    Raises:
        OwnershipError: no consent.
        InputError: widths differ and no projection fits them.

    References:
        Jiao et al. (2020), TinyBERT, arXiv 1909.10351; Romero et al. (2015), FitNets, arXiv 1412.6550.
    """
    require_consent(owner_consent, "hidden_mse")
    mine, theirs = _projected(hidden, teacher_hidden, projection)
    return (mine - theirs).square().mean(dim=-1)


def hidden_cosine(
    hidden: Tensor,
    teacher_hidden: Tensor,
    projection: Tensor | None = None,
    *,
    owner_consent: OwnerConsent | None,
) -> Tensor:
    """1 - cosine of the angle between hidden states: their direction, not their length.

    Args:
        hidden: Student, shape (n, d_s).
        teacher_hidden: Teacher, shape (n, d_t); fixed, no gradient.
        projection: Learnt matrix, shape (d_s, d_t); needed when the widths differ.
        owner_consent: Declaration of owning the teacher.

    Returns:
        Shape (n,), from 0 (same direction) to 2 (opposite); 1 where a state is 0.

    Raises:
        OwnershipError: no consent.
        InputError: widths differ and no projection fits them.

    References:
        Sanh et al. (2019), DistilBERT, arXiv 1910.01108 (L_cos).
    """
    require_consent(owner_consent, "hidden_cosine")
    mine, theirs = _projected(hidden, teacher_hidden, projection)
    return 1 - torch.nn.functional.cosine_similarity(mine, theirs, dim=-1)


def embedding_mse(
    embeddings: Tensor,
    teacher_embeddings: Tensor,
    projection: Tensor | None = None,
    *,
    owner_consent: OwnerConsent | None,
) -> Tensor:
    """Mean squared difference of token embeddings.

    Args:
        embeddings: Student's, of n positions or of a whole table of one tokenizer, shape (n, d_s).
        teacher_embeddings: Teacher's of the same tokens, shape (n, d_t); fixed.
        projection: Learnt matrix, shape (d_s, d_t); needed when the widths differ.
        owner_consent: Declaration of owning the teacher.

    Returns:
        Shape (n,), squared units of the teacher's embeddings.

    Raises:
        OwnershipError: no consent.
        InputError: widths differ and no projection fits them.

    References:
        Jiao et al. (2020), TinyBERT, arXiv 1909.10351.
    """
    require_consent(owner_consent, "embedding_mse")
    mine, theirs = _projected(embeddings, teacher_embeddings, projection)
    return (mine - theirs).square().mean(dim=-1)


def _projected(mine: Tensor, theirs: Tensor, projection: Tensor | None) -> tuple[Tensor, Tensor]:
    wide, fixed = widened(mine), widened(theirs).detach()
    if projection is not None:
        if projection.shape != (mine.shape[-1], theirs.shape[-1]):
            raise InputError(
                f"'projection' must have the shape ({mine.shape[-1]}, {theirs.shape[-1]}), student by teacher width, "
                f"got {tuple(projection.shape)}."
            )
        wide = wide @ widened(projection)
    if wide.shape != fixed.shape:
        raise InputError(
            f"Student and teacher states must have one shape, got {tuple(wide.shape)} and {tuple(fixed.shape)}. "
            "Give a learnt 'projection' where the widths differ."
        )
    return wide, fixed
