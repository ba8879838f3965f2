"""Speculative knowledge distillation: the student writes, and the teacher replaces what it finds too unlikely.

The text that results trains the student with any divergence. All draws come from generators that are passed in.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_positive
from kdguard.distill.objectives.logspace import log_probabilities, pick
from kdguard.errors import InputError


class Interleaved(NamedTuple):
    """Tokens after the teacher has looked.

    Attributes:
        token_ids: Shape (n,) or (b, t), int64: the proposal where accepted, else the teacher's draw.
        accepted: Same shape, bool.
    """

    token_ids: Tensor
    accepted: Tensor


class Block(NamedTuple):
    """A block of proposals after the teacher has looked.

    Attributes:
        token_ids: Shape (b, t), int64; only the first `kept` of a row stand.
        kept: Tokens that stand, shape (b,): all accepted ones before the first rejection, and its replacement.
    """

    token_ids: Tensor
    kept: Tensor


def propose(logits: Tensor, generator: torch.Generator, temperature: float = 1.0) -> Tensor:
    """Draw one token at each position: logits (n, v) give ids (n,), int64."""
    check_positive("temperature", temperature)
    probabilities = log_probabilities(logits, temperature).exp()
    return torch.multinomial(probabilities, 1, generator=generator).squeeze(-1)


def interleave(
    proposed_ids: Tensor,
    teacher_logits: Tensor,
    top_k: int,
    generator: torch.Generator,
    temperature: float = 1.0,
) -> Interleaved:
    """Keep a proposed token if it is among the teacher's top k, else take one drawn from the teacher.

    Args:
        proposed_ids: Student's tokens, shape (n,).
        teacher_logits: Teacher's logits for the same places and prefixes, shape (n, v).
        top_k: From 0 to v. v accepts everything (on-policy), 0 rejects everything (the teacher writes, as in
            supervised distillation). A tie with the k-th entry is accepted.
        generator: Source of the teacher's draws; the same state gives the same text.
        temperature: T > 0 of the teacher's draws.

    Returns:
        Tokens and which were accepted.

    Raises:
        InputError: `top_k` outside [0, v].

    References:
        Xu et al. (2025), Speculative Knowledge Distillation, arXiv 2410.11325.
    """
    width = teacher_logits.shape[-1]
    if not 0 <= top_k <= width:
        raise InputError(f"'top_k' must lie in [0, {width}], got {top_k}.")
    proposed = proposed_ids.long()
    ahead = (teacher_logits > pick(teacher_logits, proposed.unsqueeze(-1))).sum(dim=-1)
    accepted = ahead < top_k
    return Interleaved(
        torch.where(accepted, proposed, propose(teacher_logits, generator, temperature)), accepted
    )


def interleave_block(
    proposed_ids: Tensor,
    teacher_logits: Tensor,
    top_k: int,
    generator: torch.Generator,
    temperature: float = 1.0,
) -> Block:
    """Check a run of proposals with one pass of the teacher.

    Everything behind the first rejection was proposed after a token that no longer stands, so it is dropped; the next
    block starts there. The text has the same distribution as token by token.

    Args:
        proposed_ids: Student's tokens, shape (b, t).
        teacher_logits: Teacher's logits for each of them, shape (b, t, v), all along the student's proposal.
        top_k: From 0 to v, as in `interleave`.
        generator: Source of the teacher's draws.
        temperature: T > 0 of the teacher's draws.

    Returns:
        Tokens and how many of each row stand, from 1 to t.
    """
    b, t = proposed_ids.shape
    looked = interleave(
        proposed_ids.reshape(-1), teacher_logits.reshape(b * t, -1), top_k, generator, temperature
    )
    before = looked.accepted.reshape(b, t).long().cumprod(dim=-1).sum(dim=-1)
    return Block(looked.token_ids.reshape(b, t), (before + 1).clamp_max(t))
