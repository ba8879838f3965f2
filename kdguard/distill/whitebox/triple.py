"""DistilBERT's triple loss: soft targets, hard targets, and the direction of the hidden states."""

from __future__ import annotations

from torch import Tensor

from kdguard.distill.objectives.divergence import forward_kl
from kdguard.distill.objectives.text import cross_entropy
from kdguard.distill.whitebox.consent import OwnerConsent, require_consent
from kdguard.distill.whitebox.features import hidden_cosine
from kdguard.errors import InputError


def distilbert_triple(
    logits: Tensor,
    teacher_logits: Tensor,
    target_ids: Tensor,
    hidden: Tensor,
    teacher_hidden: Tensor,
    temperature: float = 2.0,
    weights: tuple[float, float, float] = (5.0, 2.0, 1.0),
    *,
    owner_consent: OwnerConsent | None,
) -> Tensor:
    """Weighted sum of T squared KL(p_T || q_T), cross-entropy, and 1 - cosine of the last hidden states.

    Args:
        logits: Student, shape (n, v).
        teacher_logits: Teacher, shape (n, v).
        target_ids: Hard targets, shape (n,): masked words for a masked model, next words for a causal one.
        hidden: Student's last hidden states, shape (n, d).
        teacher_hidden: Teacher's, shape (n, d), the same width: the student keeps it and halves the layers.
        temperature: T > 0 of the soft targets.
        weights: Of soft targets, hard targets and cosine, each at least 0. The default is that of the authors'
            training code; (w, 0, 0) is forward KL, (0, 1, 0) cross-entropy.
        owner_consent: Declaration of owning the teacher.

    Returns:
        Shape (n,); nats, and no unit for the cosine.

    Raises:
        OwnershipError: no consent.
        InputError: a negative weight, or widths that differ.

    References:
        Sanh et al. (2019), DistilBERT, arXiv 1910.01108 (L_ce, L_mlm, L_cos).
    """
    require_consent(owner_consent, "distilbert_triple")
    if min(weights) < 0:
        raise InputError(f"'weights' must be at least 0, got {weights}.")
    soft, hard, direction = weights
    return (
        soft * forward_kl(logits, teacher_logits, temperature)
        + hard * cross_entropy(logits, target_ids)
        + direction * hidden_cosine(hidden, teacher_hidden, owner_consent=owner_consent)
    )
