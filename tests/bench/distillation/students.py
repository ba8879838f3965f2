"""Students and controls at equal tokens, several seeds each, all of one shape."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from kdguard.distill.students.data import Document
from kdguard.distill.students.fleet import Fleet, train_fleet
from kdguard.distill.students.packing import pack_for
from kdguard.distill.students.plan import Mix, Plan, Slot
from kdguard.distill.students.shapes import Shape
from kdguard.distill.students.weights import unstack
from tests.bench.at_hand import TeacherAtHand
from tests.bench.distillation.material import TEACHER, Teachers
from tests.bench.distillation.setting import Setting

SOFT, TEXT = Mix(text=0.0, soft=1.0), Mix(text=1.0)


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to learn.

    Attributes:
        name: As printed.
        documents: What is learnt from.
        mix: How.
        is_control: It never saw an answer of the teacher.
        dense: From the teacher's whole distributions on these documents.
    """

    name: str
    documents: Sequence[Document]
    mix: Mix
    is_control: bool = False
    dense: bool = False


def slots_of(kind: Kind, setting: Setting) -> list[Slot]:
    """One slot a seed; its steps are as many as its share of supervised tokens asks for."""
    data = pack_for(kind.mix, kind.documents, setting.context)
    steps = max(1, round(setting.tokens / (data.supervised / data.rows * setting.student_rows)))
    return [
        Slot(name=f"{kind.name} {seed}", data=data, mix=kind.mix, seed=100 + seed, steps=steps)
        for seed in range(setting.seeds)
    ]


def train_kind(kind: Kind, setting: Setting, teachers: Teachers) -> list[dict[str, Any]]:
    """Weights under transformers' names, one student a seed."""
    shape, slots = setting.student_shape(teachers.vocab), slots_of(kind, setting)
    plan = Plan(steps=slots[0].steps or 1, rows=setting.student_rows, report_every=10_000)
    fleet = _beside(shape, slots, plan, teachers) if kind.dense else train_fleet(shape, slots, plan)
    return [fleet.state_dict(seed) for seed in range(setting.seeds)]


def _beside(shape: Shape, slots: Sequence[Slot], plan: Plan, teachers: Teachers) -> Fleet:
    """Train beside the teacher."""
    fleet = teachers.fleet
    teacher = unstack(fleet.stacked, fleet.place(TEACHER))
    engine = TeacherAtHand(shape, slots, plan, torch.device("cpu"), teacher, fleet.shape)
    for step in range(plan.steps):
        engine.step(step)
    weights = {name: weight.detach() for name, weight in engine.weights.items()}
    return Fleet(shape, tuple(slot.name for slot in slots), weights, (), (), "")
