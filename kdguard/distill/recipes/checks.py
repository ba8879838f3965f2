"""What a recipe asks for as a whole: do its parts go together, and may it be done."""

from __future__ import annotations

from kdguard.distill.recipes import tables
from kdguard.distill.recipes.families import Family, family_of
from kdguard.distill.recipes.recipe import Recipe
from kdguard.errors import TrainingError

TARGETS_OF_ITS_OWN = frozenset({"hinton", "born_again", "mutual", "distilbert_triple", "gad"})
"""Objectives that hold cross-entropy on the text already."""


def check_recipe(recipe: Recipe, where: str = "recipe") -> None:
    """Refuse what cannot be run or is not permitted.

    Raises:
        TrainingError: Parts that do not go together.
        OwnershipError: A white-box objective without a declaration of ownership.
        InputError: An objective, world or shape that does not exist.
    """
    from kdguard.distill.whitebox.consent import consent_from

    family = family_of(recipe.objective.name)
    if family.owned:
        consent_from(recipe.ownership)
    _check_teachers(recipe, family, where)
    _check_student(recipe, family, where)
    _check_data(recipe, family, where)
    _check_options(recipe, family, where)
    _check_plan(recipe, family, where)


def _check_teachers(recipe: Recipe, family: Family, where: str) -> None:
    name, count = recipe.objective.name, len(recipe.teachers)
    asked = any(isinstance(one, tables.AskedData) for one in recipe.data)
    needed = max(family.teachers, int(asked or recipe.tokenizer.kind == "teacher"))
    if count < needed:
        why = (
            f"'{name}'"
            if family.teachers
            else "data of kind 'asked'"
            if asked
            else "tokenizer.kind = 'teacher'"
        )
        raise TrainingError(f"{where}: {why} needs a table [[teachers]] with the path of a model folder")
    if count > 1 and family.kind != "several":
        raise TrainingError(
            f"{where}: '{name}' takes one teacher, got {count}; several mix by the objective 'multi_teacher_kl'"
        )
    devices = {one.device for one in recipe.teachers} - {recipe.plan.device}
    if devices and family.kind != "fleet":
        raise TrainingError(
            f"{where}: '{name}' runs student and teacher side by side: give both one device, got {recipe.plan.device} "
            f"and {', '.join(sorted(devices))}"
        )
    if family.kind == "across_tokenizers" and not recipe.masks.is_idle:
        raise TrainingError(f"{where}: '{name}' compares whole answers; leave out the table 'masks'")


def _check_student(recipe: Recipe, family: Family, where: str) -> None:
    from kdguard.distill.students.shapes import named_shape

    student = recipe.student
    if student.path is None:
        named_shape(student.shape)
    if family.starts and student.path is None:
        raise TrainingError(
            f"{where}: '{recipe.objective.name}' needs a student that can already answer: set student.path"
        )
    if student.path is not None and recipe.tokenizer != tables.TokenizerTable():
        raise TrainingError(
            f"{where}: a student of a folder brings its tokenizer: leave out the table 'tokenizer'"
        )


def _check_data(recipe: Recipe, family: Family, where: str) -> None:
    from kdguard.distill.corpora.worlds import world_of

    for one in recipe.data:
        if isinstance(one, tables.CorpusData | tables.AskedData):
            world_of(one.world)
    told = [one for one in recipe.data if isinstance(one, tables.TranscriptData | tables.AskedData)]
    wants = _soft_of(recipe.objective.name) if family.kind == "fleet" else "none"
    for one in told:
        if one.soft != wants:
            raise TrainingError(
                f"{where}: the objective '{recipe.objective.name}' learns from soft = '{wants}', data says "
                f"soft = '{one.soft}'"
            )
    if wants != "none" and not told:
        raise TrainingError(f"{where}: '{recipe.objective.name}' needs data of kind 'transcripts' or 'asked'")
    if family.kind == "labelled" and not recipe.masks.is_idle:
        raise TrainingError(
            f"{where}: '{recipe.objective.name}' scores whole labels; leave out the table 'masks'"
        )


def _soft_of(name: str) -> str:
    """Which soft targets an objective of the fleet reads."""
    if name == "cross_entropy":
        return "none"
    return "sampled" if name == "sampled_kl" else "topk"


def _check_options(recipe: Recipe, family: Family, where: str) -> None:
    from kdguard.distill.objectives.registry import OBJECTIVES

    name = recipe.objective.name
    own = OBJECTIVES[name].options if name in OBJECTIVES else ()
    allowed = sorted(set(family.options) | (set(own) - {"temperature", "projection", "key_mask"}))
    unknown = sorted(recipe.objective.options.keys() - set(allowed))
    if unknown:
        raise TrainingError(
            f"{where}: objective.options: unknown key {', '.join(unknown)}; '{name}' has {', '.join(allowed) or 'none'}"
        )
    if name == "prompt_distillation" and not recipe.objective.options.get("document"):
        raise TrainingError(
            f"{where}: 'prompt_distillation' needs objective.options.document, the text to learn"
        )


def _check_plan(recipe: Recipe, family: Family, where: str) -> None:
    plan = recipe.plan
    if plan.micro_rows is not None and plan.rows % plan.micro_rows:
        raise TrainingError(
            f"{where}: plan.micro_rows must divide plan.rows, got {plan.micro_rows} and {plan.rows}"
        )
    if (plan.compiled or plan.graphed) and family.kind != "fleet":
        raise TrainingError(
            f"{where}: plan.compiled and plan.graphed are for students of recorded answers; "
            f"'{recipe.objective.name}' trains in the plain loop"
        )
    mix_weights(recipe.objective)


def mix_weights(objective: tables.ObjectiveTable) -> tuple[float, float]:
    """Weights of text and of the objective: as told, else the objective alone.

    Raises:
        TrainingError: A weight for something that the objective does not have, or both 0.
    """
    if objective.name == "cross_entropy":
        if objective.soft:
            raise TrainingError("'cross_entropy' is the text itself: set objective.text, not objective.soft")
        return (1.0 if objective.text is None else objective.text), 0.0
    text = 0.0 if objective.text is None else objective.text
    soft = 1.0 if objective.soft is None else objective.soft
    if text and objective.name in TARGETS_OF_ITS_OWN - {"gad"}:
        raise TrainingError(
            f"'{objective.name}' holds cross-entropy already: leave out objective.text, weigh it by its options"
        )
    if not text + soft > 0:
        raise TrainingError(f"objective.text and objective.soft must not both be 0, got {text} and {soft}")
    return text, soft
