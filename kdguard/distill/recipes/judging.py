"""The evaluation that a recipe asks for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kdguard.distill.evaluate.evaluate import Setting, evaluate
from kdguard.distill.evaluate.inputs import read_texts
from kdguard.distill.evaluate.judged import Judged
from kdguard.distill.procedures.beside import TeacherModel
from kdguard.distill.recipes.learning import Trained
from kdguard.distill.recipes.tables import EvaluationTable


def judge(
    table: EvaluationTable,
    trained: Trained,
    teachers: list[TeacherModel],
    control: tuple[Any, Any] | None,
    dose: Mapping[str, Any],
    say: Callable[[str, int, int], None],
) -> dict[str, Any]:
    """The report on a trained student, with the course of its training.

    Args:
        table: On what it is judged.
        trained: The student.
        teachers: The first is compared with.
        control: Model and tokenizer of an untaught student.
        dose: What it got of its teacher.
        say: Told how far it is.
    """
    models = [Judged("student", "student", trained.model, trained.tokenizer)]
    if teachers:
        first = teachers[0]
        models.append(Judged("teacher", first.name, first.model, first.tokenizer))
    if control is not None:
        models.append(Judged("control", "control", *control))
    history = [{"step": step, "text": text[0], "soft": soft[0]} for step, text, soft in trained.history]
    return evaluate(models, setting_of(table), dose=dose, say=say) | {"history": history}


def setting_of(table: EvaluationTable) -> Setting:
    """The setting that a table describes."""
    return Setting(
        world=table.world,
        tasks=table.tasks,
        outside=table.outside,
        examples=table.examples,
        max_tokens=table.max_tokens,
        texts=read_texts(table.texts),
        price_per_hour=table.price_per_hour,
        seed=table.seed,
    )
