"""From the mixes of a fleet's slots to the one gradient function its vocabulary head calls."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kdguard.distill.objectives.registry import Objective
from kdguard.distill.objectives.registry import objective as registered
from kdguard.distill.objectives.text import cross_entropy
from kdguard.distill.students.head import Gradient, Targets, dense_slope
from kdguard.distill.students.plan import FUSED, Mix, Slot
from kdguard.distill.students.sparse import sparse_slope
from kdguard.errors import TrainingError

OFFLINE = frozenset({"target_ids", "top_ids", "top_logprobs", "tail_mass", "sampled_ids", "counts"})
"""Columns that recorded answers can give. Objectives that need more ask for a teacher at hand: see procedures."""


def check_mix(mix: Mix) -> None:
    """Refuse an objective that recorded answers cannot serve.

    Raises:
        TrainingError: The objective looks inside a teacher, or needs a column that is not recorded.
        InputError: No objective has this name.
    """
    if not mix.soft or mix.objective in FUSED:
        return
    chosen = registered(mix.objective)
    missing = sorted(set(chosen.needs) - OFFLINE)
    if chosen.white_box or missing:
        raise TrainingError(
            f"objective '{mix.objective}' needs {', '.join(missing) or 'a teacher to look into'}, which recorded "
            "answers do not hold; train it beside its teacher with kdguard.distill.procedures"
        )
    if "temperature" not in chosen.options and mix.temperature != 1:
        raise TrainingError(f"objective '{mix.objective}' has no temperature, got {mix.temperature}")
    unknown = sorted(mix.options.keys() - set(chosen.options))
    if unknown:
        raise TrainingError(f"objective '{mix.objective}' has no option {', '.join(unknown)}")


def slope_of(slots: Sequence[Slot]) -> Gradient:
    """The gradient function of a fleet: closed form where every slot allows it, otherwise autograd on chunks.

    Raises:
        TrainingError: A slot's objective cannot be served.
    """
    for slot in slots:
        check_mix(slot.mix)
    if all(not slot.mix.soft or slot.mix.objective in FUSED for slot in slots):
        return sparse_slope
    mixes = [slot.mix for slot in slots]

    def losses(logits: Tensor, targets: Targets) -> tuple[Tensor, Tensor]:
        parts = [_one(logits[i], targets, i, mix) for i, mix in enumerate(mixes)]
        return torch.stack([text for text, _ in parts]), torch.stack([soft for _, soft in parts])

    return dense_slope(losses)


def _one(logits: Tensor, targets: Targets, slot: int, mix: Mix) -> tuple[Tensor, Tensor]:
    """Weighted sums of one slot: text, and soft over the positions that have a soft target."""
    text = (cross_entropy(logits, targets.token[slot]) * targets.weight[slot]).sum()
    if not mix.soft or targets.soft_weight is None:
        return text, torch.zeros_like(text)
    weight = targets.soft_weight[slot]
    places = weight.nonzero().squeeze(-1)
    columns = _columns(targets, slot, places)
    chosen = registered(mix.objective)
    found = chosen.function(
        logits[places], *(columns[name] for name in chosen.needs), **_options(chosen, mix)
    )
    return text, (found * weight[places]).sum()


def _columns(targets: Targets, slot: int, places: Tensor) -> dict[str, Tensor]:
    assert targets.ids is not None
    assert targets.logprobs is not None
    assert targets.tail is not None
    ids, logprobs = targets.ids[slot][places], targets.logprobs[slot][places]
    return {
        "target_ids": targets.token[slot][places],
        "top_ids": ids,
        "top_logprobs": logprobs,
        "tail_mass": targets.tail[slot][places],
        "sampled_ids": ids,
        "counts": logprobs.exp(),
    }


def _options(chosen: Objective, mix: Mix) -> dict[str, object]:
    heat = {"temperature": mix.temperature} if "temperature" in chosen.options else {}
    return heat | dict(mix.options)
