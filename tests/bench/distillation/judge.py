"""How near a model is to the teacher on answers of the teacher to prompts that nobody has seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import t
from transformers import LlamaForCausalLM

from kdguard.distill.evaluate.judged import Judged
from kdguard.distill.evaluate.readings import gaps
from kdguard.distill.procedures.part import Item
from kdguard.distill.students.data import Document
from kdguard.distill.students.shapes import Shape, llama_config
from tests.bench.distillation.material import TEACHER, Teachers


@dataclass(frozen=True, slots=True)
class Nearness:
    """Means over the tokens of all held-out answers.

    Attributes:
        kl: KL(teacher || model), nats a token.
        same: Share of tokens at which both find the same token likeliest.
    """

    kl: float
    same: float


def nearness(
    weights: Mapping[str, Any], shape: Shape, teachers: Teachers, heldout: Sequence[Document]
) -> Nearness:
    """Compare one model with the teacher."""
    model = LlamaForCausalLM(llama_config(shape))
    model.load_state_dict(dict(weights), strict=False)
    model.tie_weights()
    other: Any = model.eval()  # type: ignore[no-untyped-call]
    found = gaps(
        Judged("teacher", TEACHER, teachers.model(TEACHER), teachers.tokenizer),
        Judged("student", "student", other, teachers.tokenizer),
        [Item(document) for document in heldout],
    )
    kept = [gap for gap in found if gap is not None]
    return Nearness(
        float(np.concatenate([gap.kl for gap in kept]).mean()),
        float(np.concatenate([gap.same for gap in kept]).mean()),
    )


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean over seeds with its 95 % Student interval."""
    mean = float(np.mean(values))
    half = float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / len(values) ** 0.5)
    return mean, mean - half, mean + half
