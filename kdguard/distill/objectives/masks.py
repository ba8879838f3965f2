"""Which tokens of a response are targets when reasoning, tool use or refusals are distilled.

Masks are over tokens, shape (b, t), bool; `spans.predicting_positions` turns them into masks over logits. A response
mask says which tokens the teacher wrote (no prompt, no padding); results only ever narrow it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from kdguard.distill.objectives.checks import check_choice, check_same_shape
from kdguard.distill.objectives.spans import positions_between
from kdguard.errors import InputError


def reasoning_mask(
    token_ids: Tensor, response_mask: Tensor, opening_id: int, closing_id: int, learn: str = "both"
) -> Tensor:
    """Targets of reasoning distillation: the trace between two marks, the answer after it, or both.

    Args:
        token_ids: Shape (b, t).
        response_mask: Shape (b, t), bool.
        opening_id: Mark before the trace; it may stand in the prompt.
        closing_id: Mark after the trace.
        learn: "reasoning" (the trace with its marks), "answer" (all else) or "both".

    Returns:
        Shape (b, t), bool.

    References:
        Ho et al. (2023), Large Language Models Are Reasoning Teachers, arXiv 2212.10071, for "both".
    """
    check_choice("learn", learn, ("reasoning", "answer", "both"))
    check_same_shape(token_ids=token_ids, response_mask=response_mask)
    if learn == "both":
        return response_mask.clone()
    trace = positions_between(token_ids, opening_id, closing_id)
    return response_mask & (trace if learn == "reasoning" else ~trace)


def tool_use_mask(
    token_ids: Tensor,
    response_mask: Tensor,
    call_marks: tuple[int, int],
    result_marks: tuple[int, int] | None = None,
    learn: str = "both",
) -> Tensor:
    """Targets of tool-use distillation: the teacher's calls and words, never what a tool answered.

    Args:
        token_ids: Shape (b, t).
        response_mask: Shape (b, t), bool; it may run over several turns and include tool results.
        call_marks: Opening and closing id of a call.
        result_marks: Opening and closing id of a tool result; its tokens, marks included, are never targets.
        learn: "calls", "text" (all but calls) or "both".

    Returns:
        Shape (b, t), bool.

    References:
        Schick et al. (2023), Toolformer, arXiv 2302.04761, for text with calls in it.
    """
    check_choice("learn", learn, ("calls", "text", "both"))
    check_same_shape(token_ids=token_ids, response_mask=response_mask)
    wanted = response_mask.clone()
    if result_marks is not None:
        wanted &= ~positions_between(token_ids, *result_marks)
    if learn == "both":
        return wanted
    calls = positions_between(token_ids, *call_marks)
    return wanted & (calls if learn == "calls" else ~calls)


def refusal_mask(
    response_mask: Tensor, refused: Tensor, learn: str = "both", opening: int | None = None
) -> Tensor:
    """Targets of refusal distillation: refusals, helpful answers, or both; of refusals only the opening if wished.

    Args:
        response_mask: Shape (b, t), bool.
        refused: Which responses refuse, shape (b,), bool.
        learn: "refusals" (inherit the teacher's policy), "answers" (drop it) or "both".
        opening: First tokens of a refusal to learn, at least 1; None is all. Whether a model refuses is decided by
            its first few tokens.

    Returns:
        Shape (b, t), bool.

    References:
        Qi et al. (2025), Safety Alignment Should Be Made More Than Just a Few Tokens Deep, arXiv 2406.05946.
    """
    check_choice("learn", learn, ("refusals", "answers", "both"))
    if opening is not None and opening < 1:
        raise InputError(f"'opening' must be at least 1 token, got {opening}.")
    refuses = refused.unsqueeze(-1)
    wanted = response_mask.clone()
    if opening is not None:
        wanted &= ~refuses | (response_mask.cumsum(dim=-1) <= opening)
    if learn != "both":
        wanted &= refuses if learn == "refusals" else torch.logical_not(refuses)
    return wanted
