"""Soft targets cut to the k largest entries, as an API gives them.

What the k entries leave is the tail mass. Dropping it (renormalising) teaches an over-confident student: the k listed
probabilities are all scaled up (Anshumann et al. 2025). A bucket keeps them as they are.
Ids below 0 and log-probabilities of -inf mark padding.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_same_shape
from kdguard.distill.objectives.logspace import kl, log_probabilities, pick, widened


class TopK(NamedTuple):
    """The k largest entries of a distribution.

    Attributes:
        ids: Shape (n, k), int64, most probable first.
        logprobs: Shape (n, k), nats.
        tail_mass: Probability of all other entries, shape (n,); exactly 0 when k = v.
    """

    ids: Tensor
    logprobs: Tensor
    tail_mass: Tensor


def topk_of(teacher_logits: Tensor, k: int) -> TopK:
    """The k largest entries of softmax(teacher_logits), shape (n, v); the tail is summed, not subtracted."""
    log_p = log_probabilities(teacher_logits)
    logprobs, ids = log_p.topk(k, dim=-1)
    return TopK(ids, logprobs, log_p.exp().scatter(-1, ids, 0.0).sum(dim=-1))


def topk_tail_kl(
    logits: Tensor,
    top_ids: Tensor,
    top_logprobs: Tensor,
    tail_mass: Tensor | None = None,
    temperature: float = 1.0,
) -> Tensor:
    """T squared times the KL between distributions over k entries and one bucket for all others.

    At T = 1 it never exceeds the dense KL (merging outcomes loses information) and grows with k; at k = v it is the
    dense KL, value and gradient. At other temperatures both sides are first bucketed, then tempered: the dense
    tempered tail is not known from k entries. Equal distributions give 0 at every T and k.

    Args:
        logits: Student, shape (n, v).
        top_ids: Distinct ids, shape (n, k); below 0 is padding.
        top_logprobs: Log-probabilities of the teacher at T = 1, shape (n, k); -inf pads.
        tail_mass: Teacher's probability outside the list, shape (n,); by default what the list leaves of 1.
            The k + 1 outcomes are renormalised, so rounded values do no harm.
        temperature: T > 0.

    Returns:
        Shape (n,), nats times T squared.

    References:
        The tail bucket of top-k distillation as in TRL's server distillation; Hinton et al. (2015) for T.
    """
    theirs, listed = _listed(top_ids, top_logprobs)
    student, has_tail = _student_buckets(logits, top_ids, listed)
    mass = 1 - theirs.exp().sum(dim=-1) if tail_mass is None else widened(tail_mass)
    tail = torch.where(has_tail, mass.clamp_min(0), 0.0).log().unsqueeze(-1)
    teacher = torch.cat([theirs, tail.to(theirs.dtype)], dim=-1)
    return (
        kl(log_probabilities(teacher, temperature), log_probabilities(student, temperature)) * temperature**2
    )


def topk_renormalised_kl(
    logits: Tensor, top_ids: Tensor, top_logprobs: Tensor, temperature: float = 1.0
) -> Tensor:
    """T squared times the KL between both distributions restricted to the listed entries and renormalised.

    Teaches nothing about the mass outside the list. Kept because many recipes in use do this; prefer the bucket.

    Args:
        logits: Student, shape (n, v).
        top_ids: Distinct ids, shape (n, k); below 0 is padding.
        top_logprobs: Teacher, shape (n, k), nats; -inf pads.
        temperature: T > 0. Exact for the dense tempered distributions restricted to the list.

    Returns:
        Shape (n,), nats times T squared; the dense KL when k = v.
    """
    theirs, listed = _listed(top_ids, top_logprobs)
    mine = pick(widened(logits), top_ids.clamp_min(0)).masked_fill(~listed, -torch.inf)
    log_p = log_probabilities(theirs, temperature)
    return kl(log_p, log_probabilities(mine, temperature)) * temperature**2


def topk_uniform_kl(
    logits: Tensor, top_ids: Tensor, top_logprobs: Tensor, tail_mass: Tensor | None = None
) -> Tensor:
    """KL(p || q) with the teacher's tail mass spread evenly over all entries outside the list.

    A guess about the tail where the bucket makes none. Listed entries and tail mass are renormalised together.

    Args:
        logits: Student, shape (n, v).
        top_ids: Distinct ids, shape (n, k); below 0 is padding.
        top_logprobs: Teacher at T = 1, shape (n, k), nats; -inf pads.
        tail_mass: Shape (n,); by default what the list leaves of 1.

    Returns:
        Shape (n,), nats; the dense KL when k = v.
    """
    theirs, listed = _listed(top_ids, top_logprobs)
    width = logits.shape[-1]
    outside = ~_listed_mask(top_ids, listed, width)
    count = outside.sum(dim=-1)
    mass = 1 - theirs.exp().sum(dim=-1) if tail_mass is None else widened(tail_mass)
    each = mass.clamp_min(0) / count.clamp_min(1)
    dense = torch.where(outside, each.unsqueeze(-1), 0.0).to(theirs.dtype)
    dense = dense.scatter_add(-1, top_ids.clamp_min(0).long(), theirs.exp())
    return kl((dense / dense.sum(dim=-1, keepdim=True).clamp_min(1e-30)).log(), log_probabilities(logits))


def _listed(top_ids: Tensor, top_logprobs: Tensor) -> tuple[Tensor, Tensor]:
    """Teacher's log-probabilities, -inf at padding, and which places hold an entry; both (n, k)."""
    check_same_shape(top_ids=top_ids, top_logprobs=top_logprobs)
    theirs = widened(top_logprobs)
    listed = (top_ids >= 0) & ~torch.isneginf(theirs)
    return theirs.masked_fill(~listed, -torch.inf), listed


def _listed_mask(ids: Tensor, listed: Tensor, width: int) -> Tensor:
    """True at listed ids, shape (n, width). Padding is sent to a column of its own, which is cut off."""
    places = torch.where(listed, ids, width).long()
    blank = torch.zeros((*ids.shape[:-1], width + 1), dtype=torch.bool, device=ids.device)
    return blank.scatter(-1, places, torch.ones_like(places, dtype=torch.bool))[..., :width]


def _student_buckets(logits: Tensor, ids: Tensor, listed: Tensor) -> tuple[Tensor, Tensor]:
    """The student's logits at k ids and the log-sum-exp of the rest, (n, k + 1); and whether any rest exists."""
    wide = widened(logits)
    mine = pick(wide, ids.clamp_min(0)).masked_fill(~listed, -torch.inf)
    has_tail = listed.sum(dim=-1) < wide.shape[-1]
    rest = wide.masked_fill(_listed_mask(ids, listed, wide.shape[-1]), -torch.inf)
    # Without a rest the log-sum-exp is -inf and its gradient NaN, which the mask keeps from every logit.
    return torch.cat([mine, rest.logsumexp(dim=-1, keepdim=True)], dim=-1), has_tail
