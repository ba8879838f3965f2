"""Random targets of every kind for one batch, and the token-level objectives they feed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdguard.distill.objectives.registry import OBJECTIVES
from kdguard.distill.objectives.sampled import draw_soft_labels
from kdguard.distill.objectives.topk import topk_of
from tests.distill.objectives import reference


@dataclass(frozen=True)
class Case:
    """One objective with options, and its reference for one position."""

    name: str
    one: Callable[..., float]
    options: Mapping[str, Any] = field(default_factory=dict)
    smooth: bool = True

    def __str__(self) -> str:
        return "-".join([self.name, *(f"{key}={value}" for key, value in self.options.items())])

    def ours(self, logits: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
        chosen = OBJECTIVES[self.name]
        return chosen.function(logits, *(columns[need] for need in chosen.needs), **self.options)

    def theirs(self, logits: Tensor, columns: Mapping[str, Tensor]) -> np.ndarray[Any, Any]:
        needed = [columns[need].detach().numpy() for need in OBJECTIVES[self.name].needs]
        return reference.rows(self.one)(logits.detach().numpy(), *needed, **self.options)


CASES = (
    Case("cross_entropy", reference.cross_entropy),
    Case("forward_kl", reference.forward_kl),
    Case("forward_kl", reference.forward_kl, {"temperature": 2.5}),
    Case("reverse_kl", reference.reverse_kl, {"temperature": 0.7}),
    Case("jensen_shannon", reference.jensen_shannon, {"beta": 0.3, "temperature": 1.5}),
    Case("gkd", reference.jensen_shannon, {"beta": 0.9}),
    Case("skewed_kl", reference.skewed_kl, {"alpha": 0.1}),
    Case("skewed_reverse_kl", reference.skewed_reverse_kl, {"alpha": 0.2, "temperature": 2.0}),
    Case("adaptive_kl", reference.adaptive_kl, {"head": 0.5}, smooth=False),
    Case("total_variation", reference.total_variation, {"temperature": 1.3}),
    Case("hinton", reference.hinton, {"temperature": 3.0, "weight": 0.7}),
    Case("born_again", lambda z, t, y, weight: reference.hinton(z, t, y, 1.0, weight), {"weight": 0.4}),
    Case("prompt_distillation", reference.forward_kl, {"temperature": 2.0}),
    Case("topk_tail_kl", reference.topk_tail_kl),
    Case("topk_tail_kl", reference.topk_tail_kl, {"temperature": 2.0}),
    Case("topk_uniform_kl", reference.topk_uniform_kl),
    Case("topk_renormalised_kl", reference.topk_renormalised_kl, {"temperature": 1.7}),
    Case("sampled_kl", reference.sampled_kl),
    Case("ranking_hinge", reference.ranking_hinge, {"margin": 0.5}),
    Case("ranking_logistic", reference.ranking_logistic),
    Case("ranking_listwise", reference.ranking_listwise),
    Case("hard_label", reference.cross_entropy),
    Case("soft_label", reference.soft_label, {"temperature": 2.0}),
    Case("step_by_step", reference.step_by_step, {"rationale_weight": 0.5}),
    Case("uld", reference.uld),
    Case("uld_topk", reference.uld_topk),
)


def columns_for(teacher_logits: Tensor, k: int, seed: int) -> dict[str, Tensor]:
    """Targets of every kind for n positions, in the type of the teacher's logits (n, v); one place is padding."""
    n, v = teacher_logits.shape
    generator = torch.Generator().manual_seed(seed)
    top = topk_of(teacher_logits, min(k, v))
    sampled_ids, counts = draw_soft_labels(teacher_logits.float(), 6, generator)
    pad = torch.full((n, 1), -1)
    return {
        "teacher_logits": teacher_logits,
        "target_ids": torch.randint(v, (n,), generator=generator),
        "labels": torch.randint(v, (n,), generator=generator),
        "label_probs": torch.softmax(teacher_logits, dim=-1).masked_fill(teacher_logits < -1, 0.0),
        "is_rationale": torch.rand(n, generator=generator) < 0.5,
        "top_ids": torch.cat([top.ids, pad], dim=-1),
        "top_logprobs": torch.cat([top.logprobs, pad.to(top.logprobs.dtype) * torch.inf], dim=-1),
        "tail_mass": top.tail_mass,
        "sampled_ids": sampled_ids,
        "counts": counts,
    }


def batch(
    n: int, v: int, k: int, seed: int, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, dict[str, Tensor]]:
    """Random logits of a student (n, v), and targets of a teacher."""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn((2, n, v), generator=generator, dtype=torch.float64).to(dtype) * 2
    return student, columns_for(teacher, k, seed)
