"""Learning which of two answers the teacher prefers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from kdguard.distill.objectives import cross_entropy, sequence_logprob
from kdguard.distill.objectives.registry import objective as registered
from kdguard.distill.procedures.beside import options_of
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
from kdguard.distill.procedures.self_taught import frozen
from kdguard.distill.students.plan import Mix, Plan
from kdguard.errors import TrainingError


def preferences(student: Any, items: Sequence[Item], mix: Mix, plan: Plan, seed: int) -> Procedure:
    """DPO or IPO against the student as it was when the run began, and cross-entropy on the chosen answers.

    Args:
        student: A causal language model.
        items: With a `rejected` document each; others are left out.
        mix: `soft` weighs the objective `dpo` or `ipo`, `text` the cross-entropy.
        plan: For the size of batches.
        seed: Of the order of the items.

    Raises:
        TrainingError: No item has a rejected answer.

    References:
        Rafailov et al. (2023), Direct Preference Optimization, arXiv 2305.18290.
    """
    pairs = [item for item in items if item.rejected is not None]
    if not pairs:
        raise TrainingError("preferences need data with rejected answers: add data of kind 'preferences'")
    device = next(student.parameters()).device
    reference, chosen, options = frozen(student), registered(mix.objective), options_of(mix)

    def parts(step: int) -> list[Part]:
        rows = rows_of_step(pairs, plan, seed, step)
        total = float(sum(pairs[row].document.weights[1:].sum() for row in rows))
        made = []
        for piece in cut(rows, plan):
            liked = [pairs[row].document for row in piece]
            disliked = [pairs[row].rejected or pairs[row].document for row in piece]
            tensors = padded(liked, device)
            tensors |= {f"rejected_{name}": value for name, value in padded(disliked, device).items()}
            tensors["pairs"] = torch.tensor(float(len(rows)))
            made.append(Part(tensors, tuple(piece), total, dose_of([*liked, *disliked])))
        return made

    def losses(part: Part) -> Losses:
        both = [part.tensors, {name: part.tensors[f"rejected_{name}"] for name in ("tokens", "weights")}]
        mine = [answer_logprob(student, one["tokens"], one["weights"]) for one in both]
        with torch.no_grad():
            before = [answer_logprob(reference, one["tokens"], one["weights"]) for one in both]
        found = chosen.function(mine[0], mine[1], before[0], before[1], **options)
        text = torch.zeros((), device=device)
        if mix.text:
            where = taught(part.tensors)
            logits = at_places(student(input_ids=part.tensors["tokens"]).logits, where.places)
            text = weighted(cross_entropy(logits, where.tokens), where.weights, part.count)
        return Losses(mix.text * text, mix.soft * found.sum() / float(part.tensors["pairs"]))

    return Procedure({"student": student}, parts, losses, described=about("preferences", items, mix))


def answer_logprob(model: Any, tokens: Tensor, weights: Tensor) -> Tensor:
    """Log-probability of each row's taught tokens together, (b,), nats."""
    logits = model(input_ids=tokens).logits[:, :-1]
    return sequence_logprob(logits, tokens[:, 1:], weights[:, 1:] > 0)
