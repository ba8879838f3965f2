"""Beside a teacher that cuts text otherwise: losses at the places that follow the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from kdguard.distill.objectives import (
    cross_entropy,
    overlap_kl,
    shared_positions,
    shared_tokens,
    uld,
)
from kdguard.distill.procedures.beside import TeacherModel, options_of
from kdguard.distill.procedures.part import (
    Item,
    Losses,
    Part,
    Procedure,
    about,
    at_places,
    cut,
    dose_of,
    padded,
    rows_of_step,
    taught,
    weighted,
)
from kdguard.distill.students.data import Document
from kdguard.distill.students.documents import Pair, documents_of_pairs, documents_of_texts
from kdguard.distill.students.plan import Mix, Plan
from kdguard.distill.teachers.token_bytes import token_bytes
from kdguard.errors import TrainingError


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """One text in both tokenisations.

    Attributes:
        mine: Under the student's tokenizer.
        theirs: Under the teacher's.
        places: Taught tokens of `mine`, rising.
        there: As many tokens of `theirs`, each behind the same bytes.
    """

    mine: Document
    theirs: Document
    places: tuple[int, ...]
    there: tuple[int, ...]


def across_tokenizers(
    student: Any,
    tokenizer: Any,
    items: Sequence[Item],
    teacher: TeacherModel,
    mix: Mix,
    plan: Plan,
    seed: int,
) -> Procedure:
    """Text everywhere, and `uld` or `overlap_kl` where both tokenisations predict from the same bytes.

    Args:
        student: A causal language model.
        tokenizer: Its tokenizer.
        items: With their text.
        teacher: With another tokenizer.
        mix: Weights, objective (`uld`, `overlap_kl`) and temperature.
        plan: For the size of batches.
        seed: Of the order of the items.

    Raises:
        TrainingError: No item has a place that both sides predict.

    References:
        Boizard et al. (2024), Towards Cross-Tokenizer Distillation, arXiv 2402.12030.
    """
    device = next(student.parameters()).device
    aligned = align(items, tokenizer, teacher.tokenizer, int(teacher.model.config.max_position_embeddings))
    if not aligned:
        raise TrainingError("no item has a text that both tokenizers cut at a common place")
    options = options_of(mix)
    ids: tuple[Tensor, ...] = ()
    if mix.objective == "overlap_kl":
        shared = shared_tokens(token_bytes(tokenizer), token_bytes(teacher.tokenizer))
        ids = tuple(torch.tensor(one, device=device) for one in shared)

    def parts(step: int) -> list[Part]:
        rows = rows_of_step(aligned, plan, seed, step)
        total = float(sum(aligned[row].mine.weights[1:].sum() for row in rows))
        pairs = float(sum(len(aligned[row].places) for row in rows))
        return [
            _part([aligned[row] for row in piece], piece, total, pairs, device) for piece in cut(rows, plan)
        ]

    def losses(part: Part) -> Losses:
        tensors = part.tensors
        where, logits = taught(tensors), student(input_ids=tensors["tokens"]).logits
        text = weighted(
            cross_entropy(at_places(logits, where.places), where.tokens), where.weights, part.count
        )
        with torch.no_grad():
            theirs = at_places(teacher.model(input_ids=tensors["teacher_tokens"]).logits, tensors["there"])
        mine = at_places(logits, tensors["places"])
        found = overlap_kl(mine, theirs, ids[0], ids[1], **options) if ids else uld(mine, theirs, **options)
        return Losses(mix.text * text, mix.soft * found.sum() / float(tensors["pairs"]))

    described = about("across_tokenizers", items, mix, teacher=teacher.digest or teacher.name)
    return Procedure({"student": student}, parts, losses, described=described)


def align(items: Sequence[Item], tokenizer: Any, other: Any, room: int) -> list[Aligned]:
    """Items in both tokenisations, with the places that follow the same bytes.

    Args:
        items: Those without text are left out.
        tokenizer: The student's.
        other: The teacher's.
        room: Most tokens that the teacher reads; longer items are left out.
    """
    spoken = [item for item in items if item.answer]
    pieces, other_pieces = token_bytes(tokenizer), token_bytes(other)
    made = []
    for item, theirs in zip(spoken, _theirs(spoken, other), strict=True):
        first, first_there = _answer_start(item.document), _answer_start(theirs)
        mine_ids = _answer(item.document, first, tokenizer.eos_token_id)
        other_ids = _answer(theirs, first_there, other.eos_token_id)
        spelt = [pieces[at] for at in mine_ids]
        told = [other_pieces[at] for at in other_ids]
        if len(theirs.tokens) > room or b"".join(spelt) != b"".join(told):
            continue  # cut off, or special tokens that spell something else
        found = shared_positions(spelt, told)
        pairs = [
            (first + place, first_there + there)
            for place, there in zip(found.student, found.teacher, strict=True)
            if first + place > 0 and first_there + there > 0 and item.document.weights[first + place]
        ]
        if pairs:
            places, others = zip(*pairs, strict=True)
            made.append(Aligned(item.document, theirs, places, others))
    return made


def _theirs(items: Sequence[Item], tokenizer: Any) -> list[Document]:
    """The items' texts as the other tokenizer cuts them."""
    made: list[Document] = []
    for item in items:
        if item.turns:
            made += documents_of_pairs([Pair(item.turns, item.answer or "")], tokenizer)
        else:
            made += documents_of_texts([item.answer or ""], tokenizer)
    return made


def _answer_start(document: Document) -> int:
    """First token of the answer; 0 for plain text."""
    taught_at = document.weights.nonzero()[0]
    return int(taught_at[0])


def _answer(document: Document, start: int, end: int | None) -> list[int]:
    ids: list[int] = document.tokens[start:].tolist()
    return ids[:-1] if ids and ids[-1] == end else ids


def _part(
    chosen: Sequence[Aligned], rows: Sequence[int], total: float, pairs: float, device: torch.device
) -> Part:
    tensors = padded([one.mine for one in chosen], device)
    theirs = padded([one.theirs for one in chosen], device)["tokens"]
    wide, wide_there = tensors["tokens"].shape[1], theirs.shape[1]
    places = [row * wide + at - 1 for row, one in enumerate(chosen) for at in one.places]
    there = [row * wide_there + at - 1 for row, one in enumerate(chosen) for at in one.there]
    tensors |= {
        "teacher_tokens": theirs,
        "places": torch.tensor(places, device=device),
        "there": torch.tensor(there, device=device),
        "pairs": torch.tensor(pairs),
    }
    return Part(tensors, tuple(rows), total, dose_of([one.mine for one in chosen]))
