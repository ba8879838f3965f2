"""Everything that the training of one recipe takes, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdguard.distill.procedures.beside import TeacherModel
from kdguard.distill.procedures.part import Item
from kdguard.distill.recipes.checks import mix_weights
from kdguard.distill.recipes.families import Family
from kdguard.distill.recipes.models import Blank
from kdguard.distill.recipes.recipe import Recipe
from kdguard.distill.students.fleet import Report
from kdguard.distill.students.plan import Mix, Plan


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Everything that training takes.

    Attributes:
        recipe: As read.
        family: Of its objective.
        blank: The student before training.
        items: What it learns from.
        teachers: Whom it learns from.
        folder: For checkpoints.
        report: Called at every report.
    """

    recipe: Recipe
    family: Family
    blank: Blank
    items: list[Item]
    teachers: list[TeacherModel]
    folder: Path
    report: Callable[[Report], None]

    @property
    def plan(self) -> Plan:
        """The recipe's plan."""
        return plan_of(self.recipe)

    @property
    def mix(self) -> Mix:
        """The recipe's objective; options of the procedure are not part of it."""
        table = self.recipe.objective
        text, soft = mix_weights(table)
        if not soft:
            return Mix(text=text)
        own = {name: value for name, value in table.options.items() if name not in self.family.options}
        return Mix(text=text, soft=soft, temperature=table.temperature, objective=table.name, options=own)

    def option(self, name: str, default: Any) -> Any:
        """An option of the procedure."""
        return self.recipe.objective.options.get(name, default)

    def options(self, without: Sequence[str] = ()) -> dict[str, Any]:
        """Options of the procedure that the recipe sets."""
        given = self.recipe.objective.options
        return {name: given[name] for name in self.family.options if name in given and name not in without}


def plan_of(recipe: Recipe) -> Plan:
    """The plan of a recipe as training takes it."""
    table = recipe.plan.model_dump()
    for name in ("learning_rate", "weight_decay", "device"):
        del table[name]
    return Plan(**table)
