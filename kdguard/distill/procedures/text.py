"""Text alone, for students of any architecture: the fleet trains plain Llamas faster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from kdguard.distill.objectives.text import cross_entropy
from kdguard.distill.procedures.part import (
    Item,
    Losses,
    Part,
    Procedure,
    about,
    at_places,
    document_parts,
    rows_of_step,
    taught,
    weighted,
)
from kdguard.distill.students.plan import Plan


def text(student: Any, items: Sequence[Item], plan: Plan, seed: int) -> Procedure:
    """Cross-entropy on the items' taught tokens.

    References:
        Kim and Rush (2016), Sequence-Level Knowledge Distillation, arXiv 1606.07947.
    """

    def losses(part: Part) -> Losses:
        where = taught(part.tensors)
        mine = at_places(student(input_ids=part.tensors["tokens"]).logits, where.places)
        return Losses(weighted(cross_entropy(mine, where.tokens), where.weights, part.count), torch.zeros(()))

    batches = document_batches(student, items, plan, seed)
    return Procedure({"student": student}, batches, losses, described=about("text", items))


def document_batches(student: Any, items: Sequence[Item], plan: Plan, seed: int) -> Any:
    """A function from step to micro-batches of the items' documents, in the order of the seed."""
    device = next(student.parameters()).device

    def parts(step: int) -> list[Part]:
        rows = rows_of_step(items, plan, seed, step)
        return document_parts([items[row].document for row in rows], rows, plan, device)

    return parts
