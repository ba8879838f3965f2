"""TinyBERT's two stages: layers in general, then layers and predictions on the task. Owner only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from kdguard.distill.procedures.beside import TeacherModel
from kdguard.distill.procedures.inside import both, checked, described, layers_of, projections_of
from kdguard.distill.procedures.part import Item, Losses, Part, Procedure, taught, weighted
from kdguard.distill.procedures.text import document_batches
from kdguard.distill.students.plan import Mix, Plan
from kdguard.distill.whitebox.consent import OwnerConsent
from kdguard.distill.whitebox.tinybert import tinybert
from kdguard.errors import TrainingError


def two_stages(
    student: Any,
    items: Sequence[Item],
    teacher: TeacherModel,
    mix: Mix,
    plan: Plan,
    seed: int,
    consent: OwnerConsent | None,
    *,
    general: float = 0.4,
    intermediate: float = 0.3,
    layer_map: str | Sequence[tuple[int, int]] = "uniform",
) -> Procedure:
    """TinyBERT: layers on general text, then layers and at last predictions on the task.

    Args:
        student: A causal language model loaded with eager attention.
        items: Those of the domain "general" for the first stage, the others for the second; without any of the first
            kind all serve both.
        teacher: Owned, of the same tokenizer and number of heads.
        mix: `soft` and `temperature`; `text` must be 0.
        plan: For steps and the size of batches.
        seed: Of order and projections.
        consent: Declaration of owning the teacher.
        general: Share of the steps for the first stage.
        intermediate: Share of the steps for the layers of the second stage; the rest learns predictions.
        layer_map: As in `inside`.

    Raises:
        OwnershipError: No consent.
        TrainingError: Shares that leave nothing for predictions.

    References:
        Jiao et al. (2020), TinyBERT, arXiv 1909.10351.
    """
    consent = checked(consent, "tinybert", teacher)
    if min(general, intermediate) < 0 or general + intermediate >= 1 or mix.text or mix.options:
        raise TrainingError(
            "tinybert needs general + intermediate below 1, text = 0 and no options, got "
            f"{general:g} + {intermediate:g}, text = {mix.text:g}"
        )
    mapping = layers_of(student, teacher, layer_map)
    modules, project = projections_of(student, teacher, len(mapping.pairs), seed, "tinybert")
    broad = [item for item in items if item.domain == "general"] or list(items)
    narrow = [item for item in items if item.domain != "general"] or list(items)
    ends = round(general * plan.steps), round((general + intermediate) * plan.steps)
    batches = document_batches(student, broad, plan, seed), document_batches(student, narrow, plan, seed)
    stage = ["general"]

    def parts(step: int) -> list[Part]:
        place = (step >= ends[0]) + (step >= ends[1])
        stage[0] = ("general", "task_intermediate", "task_prediction")[place]
        return list(batches[place > 0](step))

    def losses(part: Part) -> Losses:
        predicts = stage[0] == "task_prediction"
        reads = {"output_hidden_states": not predicts, "output_attentions": not predicts}
        mine, theirs = both(student, teacher, part.tensors["tokens"], reads)
        length = part.tensors["tokens"].shape[1]
        seen = torch.ones(length, length, dtype=torch.bool, device=part.tensors["tokens"].device).tril()
        found = tinybert(
            stage[0], mine, theirs, mapping, project, seen, mix.temperature, owner_consent=consent
        )
        where = taught(part.tensors)
        lost = found.flatten()[where.places]
        return Losses(lost.new_zeros(()), mix.soft * weighted(lost, where.weights, part.count))

    told = described("two_stages", items, mix, teacher, mapping, consent) | {"stages": ends}
    return Procedure({"student": student} | modules, parts, losses, described=told)
