"""What models think of given text, token by token: probabilities, and how far two models lie apart.

Letters: n taught positions, v vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from kdguard.distill.evaluate.judged import Judged
from kdguard.distill.objectives import overlap_kl, shared_tokens
from kdguard.distill.objectives.divergence import forward_kl, total_variation
from kdguard.distill.objectives.logspace import log_probabilities
from kdguard.distill.objectives.vocabulary import shared_vocabulary
from kdguard.distill.procedures.cross_tokenizer import align
from kdguard.distill.procedures.part import Item, at_places, padded, taught
from kdguard.distill.students.data import Document
from kdguard.distill.teachers.token_bytes import token_bytes

ROWS = 16
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reading:
    """One text under one model.

    Attributes:
        logprob: Log-probability of each taught token, (n,), nats.
        confidence: Probability of the likeliest token, (n,).
        right: Whether that is the token at hand, (n,).
    """

    logprob: Floats
    confidence: Floats
    right: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Gap:
    """Two models on one text, at the positions that both predict.

    Attributes:
        kl: KL(teacher || other), (n,), nats.
        tvd: Total variation distance, (n,), in [0, 1].
        same: Whether both find the same token likeliest, (n,).
    """

    kl: Floats
    tvd: Floats
    same: npt.NDArray[np.bool_]


def read(judged: Judged, documents: Sequence[Document | None]) -> list[Reading | None]:
    """Readings of documents under the model's own tokenizer; None stays None."""
    found: list[Reading | None] = [None] * len(documents)
    for places, logits, where in _batches(judged.model, documents):
        log_q = log_probabilities(logits)
        best = log_q.max(-1)
        spoken = log_q.gather(-1, where[1].unsqueeze(-1)).squeeze(-1)
        columns = (spoken, best.values.exp(), best.indices == where[1])
        for row, place in enumerate(places):
            mine = where[0] == row
            found[place] = Reading(*(column[mine].cpu().numpy() for column in columns))
    return found


def gaps(teacher: Judged, other: Judged, items: Sequence[Item | None]) -> list[Gap | None]:
    """How far another model lies from the teacher on texts.

    With one vocabulary the distributions are compared whole. With two they are compared at positions that follow the
    same bytes, over shared tokens and one bucket for all others.

    Args:
        teacher: Whose distribution is the first argument.
        other: Compared with it.
        items: Under the teacher's tokenizer, with their texts.
    """
    if has_same_vocabulary(teacher, other):
        return _dense(teacher, other, items)
    return _aligned(teacher, other, items)


def has_same_vocabulary(left: Judged, right: Judged) -> bool:
    """Whether two models read the same tokens."""
    mine: bool = left.tokenizer.get_vocab() == right.tokenizer.get_vocab()
    return mine


def _dense(teacher: Judged, other: Judged, items: Sequence[Item | None]) -> list[Gap | None]:
    found: list[Gap | None] = [None] * len(items)
    documents = [None if item is None else item.document for item in items]
    room = int(other.model.config.max_position_embeddings)
    documents = [one if one is not None and len(one.tokens) <= room else None for one in documents]
    pairs = zip(_batches(teacher.model, documents), _batches(other.model, documents), strict=True)
    for (places, theirs, where), (_, mine, _) in pairs:
        mine, theirs = shared_vocabulary(
            mine, theirs, min(len(teacher.tokenizer), mine.shape[-1], theirs.shape[-1])
        )
        kl, tvd = forward_kl(mine, theirs).double(), total_variation(mine, theirs).double()
        same = mine.argmax(-1) == theirs.argmax(-1)
        for row, place in enumerate(places):
            of_row = where[0] == row
            found[place] = Gap(*(column[of_row].cpu().numpy() for column in (kl, tvd, same)))
    return found


@torch.no_grad()
def _aligned(teacher: Judged, other: Judged, items: Sequence[Item | None]) -> list[Gap | None]:
    pieces, other_pieces = token_bytes(teacher.tokenizer), token_bytes(other.tokenizer)
    shared = shared_tokens(other_pieces, pieces)
    ids = torch.tensor(shared.student_ids), torch.tensor(shared.teacher_ids)
    room = int(other.model.config.max_position_embeddings)
    found: list[Gap | None] = []
    for item in items:
        pairs = align([item], teacher.tokenizer, other.tokenizer, room) if item is not None else []
        if not pairs:
            found.append(None)
            continue
        one = pairs[0]
        theirs = _logits(teacher.model, one.mine, one.places)
        mine = _logits(other.model, one.theirs, one.there)
        best = theirs[:, : len(pieces)].argmax(-1).tolist(), mine[:, : len(other_pieces)].argmax(-1).tolist()
        same = [pieces[left] == other_pieces[right] for left, right in zip(*best, strict=True)]
        kl = overlap_kl(mine, theirs, *ids).double().numpy()
        found.append(Gap(kl, _bucketed_tvd(mine, theirs, *ids), np.array(same, np.bool_)))
    return found


def _logits(model: Any, document: Document, places: Sequence[int]) -> Tensor:
    """Logits on the CPU that predict the tokens at `places`."""
    tokens = torch.from_numpy(document.tokens).long()[None].to(next(model.parameters()).device)
    found: Tensor = model(input_ids=tokens).logits[0, [at - 1 for at in places]].float().cpu()
    return found


def _bucketed_tvd(mine: Tensor, theirs: Tensor, my_ids: Tensor, their_ids: Tensor) -> Floats:
    """Total variation over shared tokens and one bucket for all others, (n,)."""
    q, p = mine.softmax(-1)[:, my_ids], theirs.softmax(-1)[:, their_ids]
    rest = (q.sum(-1) - p.sum(-1)).abs()
    total: Floats = (0.5 * ((q - p).abs().sum(-1) + rest)).double().numpy()
    return total


Batch = tuple[list[int], Tensor, tuple[Tensor, Tensor]]


@torch.no_grad()
def _batches(model: Any, documents: Sequence[Document | None]) -> Iterator[Batch]:
    """Places of documents, logits (n, v) of their taught tokens on the CPU, and row and token of each of the n."""
    known = [place for place, one in enumerate(documents) if one is not None]
    device = next(model.parameters()).device
    for start in range(0, len(known), ROWS):
        places = known[start : start + ROWS]
        tensors = padded([one for place in places if (one := documents[place]) is not None], device)
        where = taught(tensors)
        logits = at_places(model(input_ids=tensors["tokens"]).logits, where.places).float().cpu()
        rows = where.places // tensors["tokens"].shape[1]
        yield places, logits, (rows.cpu(), where.tokens.cpu())
