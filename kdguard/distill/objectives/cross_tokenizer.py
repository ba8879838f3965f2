"""Learning from a teacher whose tokenizer is another one.

`uld` compares the shapes of two distributions and needs no shared token; `overlap_kl` is exact on the tokens that both
vocabularies spell alike. Use both at positions that follow the same bytes (`alignment.shared_positions`): elsewhere the
two models answer different questions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.logspace import kl, log_probabilities, widened
from kdguard.errors import InputError


def uld(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Universal logit distillation: sum of |p_(i) - q_(i)| between probabilities sorted from the largest down.

    It is the Wasserstein-1 distance when moving mass between any two tokens costs the same. Blind to which token is
    which, so it goes with cross-entropy on the text.

    Args:
        logits: Student, shape (n, v_s).
        teacher_logits: Teacher, shape (n, v_t). The shorter vocabulary is filled up with zeros.
        temperature: T > 0 for both; no factor of T.

    Returns:
        Shape (n,), from 0 to 2, no unit; permuting either vocabulary changes nothing.

    References:
        Boizard et al. (2024), Towards Cross-Tokenizer Distillation, arXiv 2402.12030 (ULD loss).
    """
    mine, theirs = _sorted(logits, temperature), _sorted(teacher_logits, temperature)
    width = max(mine.shape[-1], theirs.shape[-1])
    return (_filled(mine, width) - _filled(theirs, width)).abs().sum(dim=-1)


def uld_topk(logits: Tensor, top_logprobs: Tensor) -> Tensor:
    """`uld` against the k largest log-probabilities of an API, whose token ids need not be known.

    Compared are the k largest probabilities of both sides, and what each leaves.

    Args:
        logits: Student, shape (n, v_s).
        top_logprobs: Teacher, shape (n, k), nats, in any order; -inf pads.

    Returns:
        Shape (n,), from 0 to 2, no unit; `uld` when k covers both vocabularies, never more than it.
    """
    mine = _sorted(logits, 1.0)
    theirs = widened(top_logprobs).exp().sort(dim=-1, descending=True).values
    k = theirs.shape[-1]
    head = _filled(mine, k)[..., :k]
    rest = mine[..., k:].sum(dim=-1) - (1 - theirs.sum(dim=-1)).clamp_min(0)
    return (head - theirs).abs().sum(dim=-1) + rest.abs()


def overlap_kl(
    logits: Tensor,
    teacher_logits: Tensor,
    student_ids: Tensor,
    teacher_ids: Tensor,
    temperature: float = 1.0,
) -> Tensor:
    """T squared times the KL over the shared tokens and one bucket for all others, on either side.

    Exact in that no shared probability is renormalised (unless the student has no other token); equal to forward KL
    when all tokens are shared. A shared token may still compete with longer tokens on one side only, so two models of
    the same text distribution can differ from 0.

    Args:
        logits: Student, shape (n, v_s).
        teacher_logits: Teacher, shape (n, v_t).
        student_ids: Distinct ids of m shared tokens, shape (m,).
        teacher_ids: The same tokens' ids at the teacher, shape (m,).
        temperature: T > 0, applied to each model's logits before bucketing.

    Returns:
        Shape (n,), nats times T squared.

    Raises:
        InputError: no shared token, or lists of different length.
    """
    if student_ids.shape != teacher_ids.shape or student_ids.ndim != 1 or student_ids.numel() == 0:
        raise InputError(
            f"'student_ids' and 'teacher_ids' must be two lists of one length above 0, "
            f"got {tuple(student_ids.shape)} and {tuple(teacher_ids.shape)}."
        )
    log_q = _bucketed(log_probabilities(logits, temperature), student_ids)
    log_p = _bucketed(log_probabilities(teacher_logits, temperature), teacher_ids)
    if student_ids.numel() == logits.shape[-1]:
        # The student has no other token to put the teacher's other mass on: compare the shared ones alone.
        log_q, log_p = log_q[..., :-1], torch.log_softmax(log_p[..., :-1], dim=-1)
    return kl(log_p, log_q) * temperature**2


def _sorted(logits: Tensor, temperature: float) -> Tensor:
    return log_probabilities(logits, temperature).exp().sort(dim=-1, descending=True).values


def _filled(probabilities: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(probabilities, (0, max(width - probabilities.shape[-1], 0)))


def _bucketed(log_p: Tensor, ids: Tensor) -> Tensor:
    """Log-probabilities of m ids and of everything else together, shape (n, m + 1)."""
    shared = log_p[..., ids.long()]
    if ids.numel() == log_p.shape[-1]:
        return torch.nn.functional.pad(shared, (0, 1), value=-torch.inf)
    blank = torch.zeros(log_p.shape[-1], dtype=torch.bool, device=log_p.device)
    others = log_p.masked_fill(blank.index_fill(0, ids.long(), True), -torch.inf).logsumexp(
        dim=-1, keepdim=True
    )
    return torch.cat([shared, others], dim=-1)
