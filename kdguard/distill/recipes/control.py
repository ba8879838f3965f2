"""The untaught control of a recipe: same shape, tokenizer and length of training, without its teacher."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.models import load_model, load_tokenizer, save_model
from kdguard.distill.recipes.job import plan_of
from kdguard.distill.recipes.models import Blank
from kdguard.distill.recipes.recipe import Recipe
from kdguard.distill.students.fleet import Report
from kdguard.distill.students.lessons import documents_of_lessons, lesson_of
from kdguard.distill.students.packing import pack
from kdguard.distill.students.plan import Slot
from kdguard.distill.students.shapes import named_shape
from kdguard.distill.students.tokenizer import fitted_vocab, special_ids
from kdguard.distill.students.training import train

EXAMPLES = 2000


def control_student(
    recipe: Recipe, blank: Blank, out: Path, report: Callable[[Report], None]
) -> tuple[Any, Any] | None:
    """Model and tokenizer of the control that the recipe names, or makes from another world's corpus; None without.

    Raises:
        ModelError: Its folder is not safe to load.
        TrainingError: Its training cannot go on.
    """
    table = recipe.evaluation
    if table is None or (table.control_world is None and table.control_path is None):
        return None
    if table.control_path is not None:
        return load_model(table.control_path), load_tokenizer(table.control_path)
    lessons = [
        lesson_of(one)
        for one in examples(
            world_of(table.control_world or ""), EXAMPLES, seed=recipe.seed, kinds=table.tasks
        )
    ]
    tokenizer = blank.tokenizer
    shape = blank.shape or named_shape(recipe.student.shape, vocab=fitted_vocab(tokenizer), context=1024)
    data = pack(documents_of_lessons(lessons, tokenizer), recipe.student.length)
    slot = Slot(name="control", data=data, seed=blank.seed, learning_rate=recipe.plan.learning_rate)
    fleet = train(
        shape,
        slot,
        plan_of(recipe),
        device=recipe.plan.device,
        folder=out / "checkpoints" / "control",
        report=report,
    )
    model = fleet.model(0, **special_ids(tokenizer))
    save_model(model, tokenizer, out / "control", overwrite=True)
    return model, tokenizer
