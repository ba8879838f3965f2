"""Students that learn on text of their own: generalised and speculative knowledge distillation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from kdguard.distill.objectives import gkd, interleave_block, student_writes
from kdguard.distill.objectives.vocabulary import shared_vocabulary
from kdguard.distill.procedures.beside import TeacherModel, mixed_losses, teacher_logits
from kdguard.distill.procedures.part import Item, Part, Procedure, about, cut, document_parts, rows_of_step
from kdguard.distill.procedures.writing import Writer, prompt_of, seed_at, with_answer
from kdguard.distill.students.data import Document
from kdguard.distill.students.plan import Mix, Plan

BLOCK = 4
"""Tokens that a student proposes before the teacher looks."""


def on_policy(
    student: Any,
    items: Sequence[Item],
    teacher: TeacherModel,
    writer: Writer,
    mix: Mix,
    plan: Plan,
    seed: int,
    *,
    share: float = 0.5,
    beta: float = 0.5,
) -> Procedure:
    """GKD: JSD(beta) to the teacher on text that the student writes with chance `share`, else on the items' text.

    Args:
        student: A causal language model.
        items: Prompts with answers; all leave room to write.
        teacher: Of the same vocabulary.
        writer: The student's.
        mix: Weights and temperature.
        plan: For the size of batches.
        seed: Of order, choices and draws.
        share: lambda, in [0, 1].
        beta: In [0, 1]; 0 is forward KL, 1 reverse KL.

    References:
        Agarwal et al. (2024), On-Policy Distillation of Language Models, arXiv 2306.13649.
    """

    def documents(rows: list[int], step: int) -> list[Document]:
        generator = torch.Generator().manual_seed(seed_at(seed, step))
        own = student_writes(len(rows), share, generator).tolist()
        prompts = [prompt_of(items[row]) for row, writes in zip(rows, own, strict=True) if writes]
        written = iter(writer.write(prompts, seed_at(seed, step)))
        return [
            with_answer(items[row], prompt_of(items[row]), next(written), "student")
            if writes
            else items[row].document
            for row, writes in zip(rows, own, strict=True)
        ]

    described = about("on_policy", items, mix, share=share, beta=beta)
    return _graded(student, items, teacher, writer, mix, plan, seed, beta, documents, described)


def speculative(
    student: Any,
    items: Sequence[Item],
    teacher: TeacherModel,
    writer: Writer,
    mix: Mix,
    plan: Plan,
    seed: int,
    *,
    top_k: int = 25,
    beta: float = 0.0,
) -> Procedure:
    """SKD: the student proposes, the teacher replaces tokens outside its top k, the student learns on what results.

    Args:
        student: A causal language model.
        items: Prompts; all leave room to write.
        teacher: Of the same vocabulary.
        writer: The student's.
        mix: Weights and temperature.
        plan: For the size of batches.
        seed: Of order and draws.
        top_k: Proposals among the teacher's k likeliest tokens stand.
        beta: Of the divergence; 0 is forward KL.

    References:
        Xu et al. (2025), Speculative Knowledge Distillation, arXiv 2410.11325.
    """
    device = next(student.parameters()).device

    def documents(rows: list[int], step: int) -> list[Document]:
        generator = torch.Generator(device).manual_seed(seed_at(seed, step))
        prompts = [prompt_of(items[row]) for row in rows]
        written = interleaved(writer, teacher, prompts, top_k, generator, seed_at(seed, step))
        return [
            with_answer(items[row], prompt, answer, "interleaved")
            for row, prompt, answer in zip(rows, prompts, written, strict=True)
        ]

    described = about("speculative", items, mix, top_k=top_k, beta=beta)
    return _graded(student, items, teacher, writer, mix, plan, seed, beta, documents, described)


def interleaved(
    writer: Writer,
    teacher: TeacherModel,
    prompts: Sequence[Sequence[int]],
    top_k: int,
    generator: torch.Generator,
    seed: int,
) -> list[list[int]]:
    """Answers that student and teacher write together, block by block."""
    answers: list[list[int]] = [[] for _ in prompts]
    open_rows = list(range(len(prompts)))
    turn = 0
    while open_rows:
        prefixes = [[*prompts[row], *answers[row]] for row in open_rows]
        proposed = writer.write(prefixes, seed + turn, max_tokens=BLOCK)
        judged = _judged(teacher, prefixes, proposed, top_k, generator)
        still = []
        for row, told in zip(open_rows, judged, strict=True):
            room = min(
                writer.max_tokens - len(answers[row]), writer.length - len(prompts[row]) - len(answers[row])
            )
            answers[row] += told[:room]
            whole = len(prompts[row]) + len(answers[row])
            ended = not told or answers[row][-1] == writer.end or len(answers[row]) >= writer.max_tokens
            if not ended and whole < writer.length - 1:
                still.append(row)
        open_rows, turn = still, turn + 1
    return answers


@torch.no_grad()
def _judged(
    teacher: TeacherModel,
    prefixes: Sequence[Sequence[int]],
    proposed: Sequence[Sequence[int]],
    top_k: int,
    generator: torch.Generator,
) -> list[list[int]]:
    """What stands of each proposal after the teacher has looked."""
    device = next(teacher.model.parameters()).device
    longest = max(len(prefix) + len(block) for prefix, block in zip(prefixes, proposed, strict=True))
    tokens = torch.zeros(len(prefixes), longest, dtype=torch.int64)
    for row, (prefix, block) in enumerate(zip(prefixes, proposed, strict=True)):
        tokens[row, : len(prefix) + len(block)] = torch.tensor([*prefix, *block])
    logits = teacher.model(input_ids=tokens.to(device)).logits
    stands: list[list[int]] = []
    for row, (prefix, block) in enumerate(zip(prefixes, proposed, strict=True)):
        if not block:
            stands.append([])
            continue
        there = logits[row, len(prefix) - 1 : len(prefix) - 1 + len(block)]
        looked = interleave_block(
            torch.tensor([block], device=device), there[None], min(top_k, there.shape[-1]), generator
        )
        stands.append(looked.token_ids[0, : int(looked.kept)].tolist())
    return stands


def _told(part: Part, documents: Sequence[Document]) -> Part:
    """The part, in which what the student wrote is graded and is no text to learn."""
    theirs = torch.tensor([[document.source != "student"] for document in documents])
    weights = part.tensors["weights"]
    return replace(part, tensors=dict(part.tensors) | {"text_weights": weights * theirs.to(weights.device)})


def _graded(
    student: Any,
    items: Sequence[Item],
    teacher: TeacherModel,
    writer: Writer,
    mix: Mix,
    plan: Plan,
    seed: int,
    beta: float,
    documents: Callable[[list[int], int], list[Document]],
    described: dict[str, Any],
) -> Procedure:
    """A divergence to the teacher on documents that are made anew at every step."""
    device = next(student.parameters()).device

    def parts(step: int) -> list[Part]:
        rows = rows_of_step(items, plan, seed, step)
        made = documents(rows, step)
        parts = document_parts(made, rows, plan, device)
        return [_told(part, piece) for part, piece in zip(parts, cut(made, plan), strict=True)]

    def soft(mine: Tensor, tokens: Tensor, target_ids: Tensor, places: Tensor) -> Tensor:
        mine, theirs = shared_vocabulary(mine, teacher_logits(teacher, tokens, places))
        return gkd(mine, theirs, beta, mix.temperature)

    told: dict[str, Any] = {"teacher": teacher.digest or teacher.name}
    told |= {"max_tokens": writer.max_tokens, "write_temperature": writer.temperature}
    return Procedure(
        {"student": student}, parts, mixed_losses(student, mix, soft), described=described | told
    )
