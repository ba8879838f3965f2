"""Learning the teacher's order of alternatives, not its numbers.

Useful where scores are coarse, rounded or from a judge. Alternatives are the listed entries of one position, or,
through the functions on scores, k whole responses scored by both sides.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_same_shape
from kdguard.distill.objectives.logspace import pick, widened


def pairwise_hinge(scores: Tensor, teacher_scores: Tensor, margin: float = 1.0) -> Tensor:
    """Mean over the teacher's ordered pairs of max(0, margin - (score of the better - score of the worse)).

    Args:
        scores: Student's scores of k alternatives, shape (n, k); larger is better.
        teacher_scores: Teacher's, shape (n, k). -inf pads; equal scores make no pair.
        margin: Wanted lead, in the unit of the scores. At 0 only inverted pairs cost.

    Returns:
        Shape (n,), unit of the scores; 0 where no pair exists.

    References:
        Herbrich, Graepel and Obermayer (2000), Large Margin Rank Boundaries for Ordinal Regression.
    """
    lead, ordered = _pairs(scores, teacher_scores)
    return _mean_pair((margin - lead).clamp_min(0), ordered)


def pairwise_logistic(scores: Tensor, teacher_scores: Tensor) -> Tensor:
    """Mean over the teacher's ordered pairs of log(1 + exp(-(score of the better - score of the worse))).

    Args:
        scores: Student's scores of k alternatives, shape (n, k).
        teacher_scores: Teacher's, shape (n, k). -inf pads; equal scores make no pair.

    Returns:
        Shape (n,), nats; log 2 for a student that ties all, 0 where no pair exists.

    References:
        Burges et al. (2005), RankNet, with the order taken as certain.
    """
    lead, ordered = _pairs(scores, teacher_scores)
    return _mean_pair(torch.nn.functional.softplus(-lead), ordered)


def listwise(scores: Tensor, teacher_scores: Tensor) -> Tensor:
    """Negative log-likelihood of the teacher's whole order under Plackett-Luce with the student's scores (ListMLE).

    Args:
        scores: Student's scores of k alternatives, shape (n, k).
        teacher_scores: Teacher's, shape (n, k). -inf pads; ties are broken by place.

    Returns:
        Shape (n,), nats per alternative; log(k!) / k for a student that ties all, 0 where the list is empty.

    References:
        Xia et al. (2008), Listwise Approach to Learning to Rank: Theory and Algorithm.
    """
    check_same_shape(scores=scores, teacher_scores=teacher_scores)
    order = teacher_scores.argsort(dim=-1, descending=True, stable=True)
    listed = ~torch.isneginf(teacher_scores.gather(-1, order))
    ordered = torch.where(listed, widened(scores).gather(-1, order), 0.0)
    k = ordered.shape[-1]
    left_over = torch.ones(k, k, dtype=torch.bool, device=scores.device).triu() & listed.unsqueeze(-2)
    # Padded rows keep themselves, so that no row is empty; they are dropped from the sum.
    left_over = left_over | torch.eye(k, dtype=torch.bool, device=scores.device)
    remaining = ordered.unsqueeze(-2).masked_fill(~left_over, -torch.inf).logsumexp(dim=-1)
    cost = torch.where(listed, remaining - ordered, 0.0).sum(dim=-1)
    return cost / listed.sum(dim=-1).clamp_min(1)


def ranking_hinge(logits: Tensor, top_ids: Tensor, top_logprobs: Tensor, margin: float = 1.0) -> Tensor:
    """`pairwise_hinge` between the student's logits at the listed ids.

    Args:
        logits: Student, shape (n, v).
        top_ids: Distinct ids, shape (n, k); below 0 is padding.
        top_logprobs: Teacher, shape (n, k); only their order counts; -inf pads.
        margin: Wanted lead, in logits.
    """
    return pairwise_hinge(*_listed_scores(logits, top_ids, top_logprobs), margin)


def ranking_logistic(logits: Tensor, top_ids: Tensor, top_logprobs: Tensor) -> Tensor:
    """`pairwise_logistic` between the student's logits (n, v) at the listed ids (n, k)."""
    return pairwise_logistic(*_listed_scores(logits, top_ids, top_logprobs))


def ranking_listwise(logits: Tensor, top_ids: Tensor, top_logprobs: Tensor) -> Tensor:
    """`listwise` over the student's logits (n, v) at the listed ids (n, k)."""
    return listwise(*_listed_scores(logits, top_ids, top_logprobs))


def _listed_scores(logits: Tensor, top_ids: Tensor, top_logprobs: Tensor) -> tuple[Tensor, Tensor]:
    check_same_shape(top_ids=top_ids, top_logprobs=top_logprobs)
    mine = pick(widened(logits), top_ids.clamp_min(0))
    return mine, widened(top_logprobs).masked_fill(top_ids < 0, -torch.inf)


def _pairs(scores: Tensor, teacher_scores: Tensor) -> tuple[Tensor, Tensor]:
    """Lead of alternative i over j, and whether the teacher puts i before j; both (n, k, k)."""
    check_same_shape(scores=scores, teacher_scores=teacher_scores)
    listed = ~torch.isneginf(teacher_scores)
    mine = torch.where(listed, widened(scores), 0.0)
    before = teacher_scores.unsqueeze(-1) > teacher_scores.unsqueeze(-2)
    return mine.unsqueeze(-1) - mine.unsqueeze(-2), before & listed.unsqueeze(-2)


def _mean_pair(cost: Tensor, ordered: Tensor) -> Tensor:
    total = torch.where(ordered, cost, 0.0).sum(dim=(-2, -1))
    return total / ordered.sum(dim=(-2, -1)).clamp_min(1)
