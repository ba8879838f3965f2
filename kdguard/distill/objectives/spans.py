"""From spans of text, or pairs of special tokens, to the positions they cover."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdguard.errors import InputError


def positions_in_spans(
    offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]], whole: bool = False
) -> Tensor:
    """Tokens that lie in any of the spans.

    Args:
        offsets: Start and end of each token of one sequence, t pairs, end excluded; characters or bytes. Empty tokens
            (start = end, as special tokens have) lie in no span.
        spans: Start and end of each span, in the same unit, end excluded. They may overlap; empty ones cover nothing.
        whole: Whether a token must lie in a span entirely; otherwise one shared character is enough.

    Returns:
        Shape (t,), bool.

    Raises:
        InputError: a span ends before it starts.
    """
    for start, end in spans:
        if end < start:
            raise InputError(f"A span must not end before it starts, got ({start}, {end}).")
    edges = torch.tensor(list(offsets), dtype=torch.int64).reshape(-1, 1, 2)
    ranges = torch.tensor(list(spans), dtype=torch.int64).reshape(1, -1, 2)
    if whole:
        hit = (ranges[..., 0] <= edges[..., 0]) & (edges[..., 1] <= ranges[..., 1])
    else:
        hit = (ranges[..., 0] < edges[..., 1]) & (edges[..., 0] < ranges[..., 1])
    hit &= (edges[..., 0] < edges[..., 1]) & (ranges[..., 0] < ranges[..., 1])
    return hit.any(dim=1)


def positions_between(token_ids: Tensor, opening_id: int, closing_id: int, marks: bool = True) -> Tensor:
    """Tokens between an opening mark and the next closing one, or the end of the sequence if it never closes.

    Args:
        token_ids: Shape (b, t).
        opening_id: Id of the opening mark. A second one inside starts nothing new: spans do not nest.
        closing_id: Id of the closing mark; one without an opening is ignored.
        marks: Whether both marks count as inside.

    Returns:
        Shape (b, t), bool.

    Raises:
        InputError: one id for both marks, which cannot tell inside from outside.
    """
    if opening_id == closing_id:
        raise InputError(f"Opening and closing marks must differ, got {opening_id} twice.")
    opens, closes = token_ids == opening_id, token_ids == closing_id
    place = torch.arange(token_ids.shape[-1], device=token_ids.device).expand_as(token_ids)
    opened = torch.where(opens, place, -1).cummax(dim=-1).values
    closed = torch.where(closes, place, -1).cummax(dim=-1).values
    open_now = opened > closed
    if not marks:
        return open_now & ~opens
    open_before = torch.zeros_like(open_now)
    open_before[..., 1:] = open_now[..., :-1]
    return open_now | (closes & open_before)


def predicting_positions(target_mask: Tensor) -> Tensor:
    """Positions whose logits predict a target: from a mask over tokens (b, t) to one over logits (b, t).

    The logits at position i predict the token at i + 1, so the mask moves one place left; the last position predicts
    nothing, and a first token can be no target.
    """
    moved = torch.zeros_like(target_mask)
    moved[..., :-1] = target_mask[..., 1:]
    return moved
