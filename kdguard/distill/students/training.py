"""Train one student: a fleet of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch

from kdguard.distill.students.fleet import Fleet, Report, train_fleet
from kdguard.distill.students.plan import Plan, Slot
from kdguard.distill.students.shapes import Shape


def train(
    shape: Shape,
    slot: Slot,
    plan: Plan,
    *,
    device: torch.device | str = "cpu",
    folder: Path | None = None,
    report: Callable[[Report], None] | None = None,
) -> Fleet:
    """Train one student on packed data.

    The same engine as for a fleet, so all that holds for one holds for the other: exact accumulation, exact resume,
    a stop with the batch saved when the loss is no longer finite.

    Args:
        shape: Of the student.
        slot: Its data, objective, seed and learning rate.
        plan: How long and in which arithmetic.
        device: "cpu" or "cuda".
        folder: For checkpoints; None = none are written.
        report: Called at every report.

    Returns:
        A fleet of one: `fleet.model()` is the student, `fleet.state_dict()` its weights.
    """
    return train_fleet(shape, [slot], plan, device=device, folder=folder, report=report)
