"""Beside one or several teachers whose logits are at hand: everything the registry calls with `teacher_logits`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from kdguard.distill.objectives import (
    cross_entropy,
    domain_weights,
    gated_weights,
    mean_weights,
    multi_teacher_kl,
)
from kdguard.distill.objectives.registry import objective as registered
from kdguard.distill.objectives.vocabulary import shared_vocabulary
from kdguard.distill.procedures.part import (
    Item,
    Losses,
    Part,
    Procedure,
    about,
    at_places,
    taught,
    weighted,
)
from kdguard.distill.procedures.text import document_batches
from kdguard.distill.students.plan import Mix, Plan
from kdguard.errors import TrainingError

Weighting = Literal["mean", "gated", "domain"]
DENSE = frozenset({"teacher_logits", "target_ids"})
"""Columns that a teacher at hand gives beside the text."""


@dataclass(frozen=True, slots=True, eq=False)
class TeacherModel:
    """A teacher in this process.

    Attributes:
        name: As manifests write it.
        model: A causal language model of transformers.
        tokenizer: Its tokenizer.
        digest: Of its folder.
        domains: Domains of items it answers for; none = all.
    """

    name: str
    model: Any
    tokenizer: Any
    digest: str = ""
    domains: tuple[str, ...] = ()


def beside(
    student: Any, items: Sequence[Item], teacher: TeacherModel, mix: Mix, plan: Plan, seed: int
) -> Procedure:
    """Text and one dense objective of the registry, on the items' own text.

    Args:
        student: A causal language model.
        items: What to learn from.
        teacher: Of the same vocabulary; padding of the table behind the last token is cut off.
        mix: Weights, objective, temperature and options.
        plan: For the size of batches.
        seed: Of the order of the items.

    Raises:
        TrainingError: The objective needs more than a teacher's logits, or has no such option.
    """
    chosen = registered(mix.objective)
    if chosen.white_box or not set(chosen.needs) <= DENSE:
        raise TrainingError(f"objective '{mix.objective}' needs more than a teacher's logits: {chosen.needs}")
    options = options_of(mix)

    def soft(mine: Tensor, tokens: Tensor, target_ids: Tensor, places: Tensor) -> Tensor:
        theirs = teacher_logits(teacher, tokens, places)
        mine, theirs = shared_vocabulary(mine, theirs)
        columns = {"teacher_logits": theirs, "target_ids": target_ids}
        return chosen.function(mine, *(columns[name] for name in chosen.needs), **options)

    return Procedure(
        {"student": student},
        document_batches(student, items, plan, seed),
        mixed_losses(student, mix, soft),
        described=about("beside", items, mix, teacher=teacher.digest or teacher.name),
    )


def several(
    student: Any,
    items: Sequence[Item],
    teachers: Sequence[TeacherModel],
    mix: Mix,
    plan: Plan,
    seed: int,
    weighting: Weighting = "mean",
) -> Procedure:
    """Text and the KL to a mixture of teachers.

    Args:
        student: A causal language model.
        items: What to learn from.
        teachers: At least one, of one vocabulary.
        mix: Weights and temperature.
        plan: For the size of batches.
        seed: Of the order of the items.
        weighting: `mean`: equal shares. `gated`: shares by how well each teacher predicts the token at hand, softmax of
            its log-probability. `domain`: equal shares among the teachers that name the item's domain.

    Raises:
        TrainingError: An item whose domain no teacher names, or an option that does not exist.
    """
    if mix.options:
        raise TrainingError(f"objective 'multi_teacher_kl' has no option {', '.join(mix.options)}")
    table = _domain_table(items, teachers) if weighting == "domain" else {}

    def losses(part: Part) -> Losses:
        tokens, where = part.tensors["tokens"], taught(part.tensors)
        mine = at_places(student(input_ids=tokens).logits, where.places)
        theirs = torch.stack([teacher_logits(one, tokens, where.places) for one in teachers])
        mine, theirs = shared_vocabulary(mine, theirs)
        if weighting == "mean":
            shares = mean_weights(theirs)
        elif weighting == "gated":
            shares = gated_weights(-cross_entropy(theirs, where.tokens.expand(len(teachers), -1)).mT)
        else:
            row_of = where.places // tokens.shape[1]
            by_row = torch.tensor([table[items[row].domain] for row in part.rows], device=tokens.device)
            shares = domain_weights(row_of, by_row)
        found = multi_teacher_kl(mine, theirs, shares, mix.temperature)
        text = cross_entropy(mine, where.tokens)
        return Losses(
            mix.text * weighted(text, where.weights, part.count),
            mix.soft * weighted(found, where.weights, part.count),
        )

    return Procedure(
        {"student": student},
        document_batches(student, items, plan, seed),
        losses,
        described=about(
            "several",
            items,
            mix,
            weighting=weighting,
            teachers=[(one.digest or one.name, one.domains) for one in teachers],
        ),
    )


def mixed_losses(student: Any, mix: Mix, soft: Any) -> Any:
    """Losses of a part: text by `mix.text`, and `soft(logits, tokens, targets, places)` by `mix.soft`.

    A part's `text_weights` tell which tokens are text to learn; by default all that are taught.
    """

    def losses(part: Part) -> Losses:
        tokens, where = part.tensors["tokens"], taught(part.tensors)
        mine = at_places(student(input_ids=tokens).logits, where.places)
        spoken = part.tensors.get("text_weights", part.tensors["weights"]).flatten()[where.places + 1]
        text = weighted(cross_entropy(mine, where.tokens), spoken, part.count) if mix.text else None
        found = soft(mine, tokens, where.tokens, where.places) if mix.soft else None
        zero = torch.zeros((), device=tokens.device)
        return Losses(
            zero if text is None else mix.text * text,
            zero if found is None else mix.soft * weighted(found, where.weights, part.count),
        )

    return losses


@torch.no_grad()
def teacher_logits(teacher: TeacherModel, tokens: Tensor, places: Tensor) -> Tensor:
    """A teacher's logits at flattened places of padded rows, (n, v)."""
    return at_places(teacher.model(input_ids=tokens).logits, places)


def options_of(mix: Mix) -> dict[str, Any]:
    """Options of a registered objective, temperature included where it has one.

    Raises:
        TrainingError: A temperature or option that the objective does not have.
    """
    chosen = registered(mix.objective)
    unknown = sorted(mix.options.keys() - set(chosen.options))
    if unknown or ("temperature" not in chosen.options and mix.temperature != 1):
        told = ", ".join(unknown) or "temperature"
        raise TrainingError(
            f"objective '{mix.objective}' has no option {told}; it has {', '.join(chosen.options) or 'none'}"
        )
    heat = {"temperature": mix.temperature} if "temperature" in chosen.options else {}
    return heat | dict(mix.options)


def _domain_table(items: Sequence[Item], teachers: Sequence[TeacherModel]) -> Mapping[str, list[float]]:
    """Shares of the teachers, by domain."""
    table = {
        domain: [float(not one.domains or domain in one.domains) for one in teachers]
        for domain in {item.domain for item in items}
    }
    alone = sorted(domain for domain, shares in table.items() if not any(shares))
    if alone:
        raise TrainingError(f"no teacher names the domain '{alone[0]}'; list it in a teacher's 'domains'")
    return table
