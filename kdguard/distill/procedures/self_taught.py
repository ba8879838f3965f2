"""A student that is its own teacher: a moving average of itself, or itself with a document in its prompt.

Born-again networks, whose teacher is the finished generation before, are `beside.beside` once more.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kdguard.distill.objectives import ema_update, forward_kl, prompt_distillation, prompt_pair
from kdguard.distill.procedures.beside import mixed_losses
from kdguard.distill.procedures.part import (
    Item,
    Losses,
    Part,
    Procedure,
    about,
    at_places,
    cut,
    padded,
    rows_of_step,
    weighted,
)
from kdguard.distill.procedures.text import document_batches
from kdguard.distill.students.data import Document
from kdguard.distill.students.plan import Mix, Plan
from kdguard.distill.students.tokenizer import conversation_ids, text_ids
from kdguard.errors import TrainingError


def moving_average(
    student: Any, items: Sequence[Item], mix: Mix, plan: Plan, seed: int, decay: float = 0.99
) -> Procedure:
    """Text, and forward KL to the exponential moving average of the student's own weights.

    Args:
        student: A causal language model.
        items: What to learn from.
        mix: Weights and temperature.
        plan: For the size of batches.
        seed: Of the order of the items.
        decay: Share of the average that stays at each step, in [0, 1].

    References:
        Tarvainen and Valpola (2017), Mean teachers are better role models, arXiv 1703.01780.
    """
    teacher = frozen(student)
    held = dict(teacher.named_parameters())

    def soft(mine: Tensor, tokens: Tensor, target_ids: Tensor, places: Tensor) -> Tensor:
        with torch.no_grad():
            theirs = at_places(teacher(input_ids=tokens).logits, places)
        return forward_kl(mine, theirs, mix.temperature)

    @torch.no_grad()
    def follow(done: int) -> None:
        for name, value in ema_update(held, dict(student.named_parameters()), decay).items():
            held[name].copy_(value)

    return Procedure(
        {"student": student},
        document_batches(student, items, plan, seed),
        mixed_losses(student, mix, soft),
        follow,
        held,
        about("moving_average", items, mix, decay=decay),
    )


def internalise(
    student: Any, tokenizer: Any, items: Sequence[Item], document: str, mix: Mix, plan: Plan, seed: int
) -> Procedure:
    """The student without a document learns to answer as it did, at the start of the run, with it.

    Args:
        student: A causal language model that can already answer.
        tokenizer: Its tokenizer.
        items: Questions and answers; the answers' own tokens are the places that are compared.
        document: What only the teacher reads, as a system turn in front of the question.
        mix: Weights and temperature.
        plan: For the size of batches.
        seed: Of the order of the items.

    Raises:
        TrainingError: Nothing with a question, or a chat template that does not put a system turn in front.

    References:
        Kujanpaa et al. (2025), Efficient Knowledge Injection in LLMs via Self-Distillation, arXiv 2412.14964.
    """
    teacher = frozen(student)
    device = next(student.parameters()).device
    pairs = _readings(tokenizer, items, document)
    room = student.config.max_position_embeddings
    pairs = [pair for pair in pairs if len(pair[0].tokens) <= room]
    if not pairs:
        raise TrainingError(
            f"no item has a question, an answer and room for the document within {room} tokens of context"
        )

    def parts(step: int) -> list[Part]:
        rows = rows_of_step(pairs, plan, seed, step)
        total = float(sum(pairs[row][1].weights.sum() for row in rows))
        made = []
        for piece in cut(rows, plan):
            long, short = (padded([pairs[row][side] for row in piece], device) for side in (0, 1))
            tensors = {"tokens": short["tokens"], "weights": short["weights"]}
            tensors |= {"teacher_tokens": long["tokens"], "teacher_weights": long["weights"]}
            made.append(Part(tensors, tuple(piece), total, {"self": int((short["weights"] > 0).sum())}))
        return made

    def losses(part: Part) -> Losses:
        tensors = part.tensors
        at = tensors["weights"].flatten().nonzero().squeeze(-1)
        there = tensors["teacher_weights"].flatten().nonzero().squeeze(-1)
        with torch.no_grad():
            theirs = at_places(teacher(input_ids=tensors["teacher_tokens"]).logits, there - 1)
        mine = at_places(student(input_ids=tensors["tokens"]).logits, at - 1)
        found = prompt_distillation(mine, theirs, mix.temperature)
        weights = tensors["weights"].flatten()[at]
        return Losses(torch.zeros(()), mix.soft * weighted(found, weights, part.count))

    described = about("internalise", items, mix, document=document)
    return Procedure({"student": student}, parts, losses, described=described)


def frozen(model: Any) -> Any:
    """A copy of a model that is not trained."""
    return copy.deepcopy(model).requires_grad_(False).eval()


def _readings(tokenizer: Any, items: Sequence[Item], document: str) -> list[tuple[Document, Document]]:
    """Each item as the teacher reads it, with the document, and as the student does."""
    asked = [item for item in items if item.turns and item.answer]
    questions = conversation_ids(tokenizer, [item.turns for item in asked])
    system: tuple[dict[str, str], ...] = ({"role": "system", "content": document},)
    told = conversation_ids(tokenizer, [(*system, *item.turns) for item in asked])
    answers = text_ids(tokenizer, [item.answer or "" for item in asked])
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    made = []
    for item, question, whole, answer in zip(asked, questions, told, answers, strict=True):
        if whole[len(whole) - len(question) :] != question:
            raise TrainingError(
                "the tokenizer's chat template must put a system turn in front of the question and change nothing else"
            )
        pair = prompt_pair(whole[: len(whole) - len(question)], question, [*answer, *end])
        made.append(
            (
                _reading(item, pair.teacher_ids, len(answer) + len(end)),
                _reading(item, pair.student_ids, len(answer) + len(end)),
            )
        )
    return made


def _reading(item: Item, ids: Sequence[int], taught: int) -> Document:
    import numpy as np

    weights = np.zeros(len(ids), np.float32)
    weights[-taught:] = 1
    return replace(item.document, tokens=np.array(ids, np.int32), weights=weights, soft=None, soft_at=None)
