"""What a run is told: how long, how fast, in which arithmetic; and for every slot its data, seed and objective."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from torch import Tensor

from kdguard.distill.students.data import TrainingData
from kdguard.errors import TrainingError

Arithmetic = Literal["auto", "float32", "bfloat16"]
BUCKET = "topk_tail_kl"
FUSED = (BUCKET, "sampled_kl")
"""Soft objectives with a closed-form gradient. Sampled labels are the bucket objective with an empty tail."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix:
    """How much of which loss: `text` times cross-entropy plus `soft` times a soft objective.

    Attributes:
        text: Weight of cross-entropy on the tokens, at least 0.
        soft: Weight of the soft objective where soft targets exist, at least 0.
        temperature: Of the soft objective, above 0; 1 for sampled soft labels.
        objective: Name in the registry of objectives; `topk_tail_kl` serves top-k and sampled targets in closed
            form, any other is differentiated on chunks of logits.
        options: Further parameters of that objective.

    Raises:
        TrainingError: A weight below 0, both 0, or a temperature not above 0.
    """

    text: float = 1.0
    soft: float = 0.0
    temperature: float = 1.0
    objective: str = BUCKET
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        weights = (self.text, self.soft)
        if min(weights) < 0 or not 0 < sum(weights) < math.inf or not 0 < self.temperature < math.inf:
            raise TrainingError(
                "an objective needs weights of at least 0, not both 0, and a temperature above 0; "
                f"got text {self.text}, soft {self.soft}, temperature {self.temperature}"
            )
        if self.objective == "sampled_kl" and self.temperature != 1:
            raise TrainingError(
                f"sampled soft labels need temperature 1, got {self.temperature}; draw at that temperature instead"
            )

    def record(self) -> dict[str, Any]:
        """As plain values, for manifests."""
        return {
            "text": self.text,
            "soft": self.soft,
            "temperature": self.temperature,
            "objective": self.objective,
            "options": dict(self.options),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """One student of a fleet.

    Attributes:
        name: Unique in the fleet.
        data: What it learns from.
        mix: How it learns.
        seed: Of its first weights and of the order of its data.
        learning_rate: At the peak of its schedule.
        weight_decay: On matrices, decoupled; gains have none.
        steps: Optimiser steps, at most the plan's; after them the student no longer changes. None = the plan's.
        start: Weights to start from, under transformers' names; None = fresh ones from the seed.
    """

    name: str
    data: TrainingData
    mix: Mix = field(default_factory=Mix)
    seed: int = 0
    learning_rate: float = 3e-3
    weight_decay: float = 0.1
    steps: int | None = None
    start: Mapping[str, Tensor] | None = None

    def record(self) -> dict[str, Any]:
        """As plain values, for manifests; the data by digest."""
        return {
            "name": self.name,
            "data": self.data.digest(),
            "mix": self.mix.record(),
            "seed": self.seed,
            "learning_rate": self.learning_rate,
            "weight_decay": self.weight_decay,
            "steps": self.steps,
            "fresh": self.start is None,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What all slots of a run share.

    Attributes:
        steps: Optimiser steps.
        rows: Packed rows a slot and optimiser step.
        micro_rows: Packed rows a slot that are run at once; divides `rows`. None = all. Changes memory and speed,
            not the result beyond rounding.
        warmup: Share of the steps over which the learning rate rises.
        final: Learning rate at the end, as a share of its peak, reached along a cosine.
        clip: Largest gradient norm a slot.
        betas: Decay rates of Adam's moments.
        epsilon: Adam's.
        arithmetic: `auto` = bfloat16 products on a GPU, float32 on a CPU. Weights, moments and sums stay float32.
        compiled: Run through torch.compile. Pays from some hundred steps on.
        graphed: On a GPU, record the whole step as one CUDA graph, so that the host launches it at once.
        report_every: Optimiser steps between reports, the only times at which the host waits for the device.
        checkpoint_every: Optimiser steps between checkpoints; 0 = only at the end. A multiple of `report_every`
            is not required.

    Raises:
        TrainingError: A count or rate that cannot be.
    """

    steps: int
    rows: int
    micro_rows: int | None = None
    warmup: float = 0.05
    final: float = 0.1
    clip: float = 1.0
    betas: tuple[float, float] = (0.9, 0.95)
    epsilon: float = 1e-8
    arithmetic: Arithmetic = "auto"
    compiled: bool = False
    graphed: bool = False
    report_every: int = 20
    checkpoint_every: int = 0

    def __post_init__(self) -> None:
        if min(self.steps, self.rows, self.report_every) < 1 or self.checkpoint_every < 0:
            raise TrainingError(f"steps, rows and report_every must be at least 1, got {self}")
        if self.micro_rows is not None and (self.micro_rows < 1 or self.rows % self.micro_rows):
            raise TrainingError(f"micro_rows must divide rows, got {self.micro_rows} and {self.rows}")
        if not (0 <= self.warmup <= 1 and 0 <= self.final <= 1 and self.clip > 0):
            raise TrainingError("warmup and final must lie in [0, 1] and clip above 0")

    @property
    def micro_batches(self) -> int:
        """Runs an optimiser step is made of."""
        return self.rows // (self.micro_rows or self.rows)

    def record(self) -> dict[str, Any]:
        """As plain values, for manifests."""
        return asdict(self)


def learning_rate(step: int, slot: Slot, plan: Plan) -> float:
    """Learning rate of a slot at optimiser step `step`, from 0; 0 once its steps are done."""
    return scheduled(step, min(slot.steps or plan.steps, plan.steps), slot.learning_rate, plan)


def scheduled(step: int, steps: int, peak: float, plan: Plan) -> float:
    """Learning rate at a step of a run of `steps`: linear warm-up to `peak`, cosine to the end, then 0."""
    if step >= steps:
        return 0.0
    rising = plan.warmup * steps
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    done = (step - rising) / max(steps - rising, 1)
    return peak * (plan.final + (1 - plan.final) * 0.5 * (1 + math.cos(math.pi * done)))
