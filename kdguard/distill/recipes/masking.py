"""Masks of a recipe on items: which of an answer's tokens are learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdguard.distill.corpora.example import is_refusal
from kdguard.distill.objectives.masks import reasoning_mask, refusal_mask, tool_use_mask
from kdguard.distill.procedures.part import Item
from kdguard.distill.recipes.tables import MasksTable
from kdguard.distill.students.tokenizer import MARKS
from kdguard.errors import TrainingError


def masked(items: Sequence[Item], masks: MasksTable, tokenizer: Any) -> list[Item]:
    """Items whose weights are 0 where the masks say that nothing is learnt.

    Raises:
        TrainingError: A mark that a mask needs is no token of the tokenizer.
    """
    return [_masked(item, masks, tokenizer) for item in items]


def _masked(item: Item, masks: MasksTable, tokenizer: Any) -> Item:
    weights = item.document.weights
    tokens = torch.from_numpy(item.document.tokens)[None].long()
    mask: Tensor = torch.from_numpy(weights > 0)[None]
    if masks.reasoning != "both":
        mask = reasoning_mask(tokens, mask, *_marks(tokenizer, MARKS[:2]), learn=masks.reasoning)
    if masks.tools != "both":
        mask = tool_use_mask(tokens, mask, _marks(tokenizer, MARKS[2:]), learn=masks.tools)
    if masks.refusals != "both" or masks.opening is not None:
        refused = torch.tensor([is_refusal(item.answer or "")])
        mask = refusal_mask(mask, refused, learn=masks.refusals, opening=masks.opening)
    kept = np.where(mask[0].numpy(), weights, np.float32(0))
    return replace(item, document=replace(item.document, weights=kept))


def _marks(tokenizer: Any, names: Sequence[str]) -> tuple[int, int]:
    ids = [tokenizer.convert_tokens_to_ids(name) for name in names]
    if any(at is None or at == tokenizer.unk_token_id for at in ids):
        raise TrainingError(
            f"a mask needs {' and '.join(names)} as tokens of the tokenizer: use tokenizer.kind = 'own'"
        )
    return ids[0], ids[1]
