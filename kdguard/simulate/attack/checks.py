"""What a recipe asks for as a whole: can it be paid for, and may it be done."""

from __future__ import annotations

from kdguard.errors import AttackError
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.tables import StudentTable

CLASSIFIER_TACTICS = frozenset({"T1", "T2", "T10", "T13"})
"""Tactics that change neither wording nor sampling: a classifier's prompts are rows of numbers."""


def check_recipe(recipe: Recipe, where: str = "recipe") -> None:
    """Refuse what cannot be run or is not permitted.

    Raises:
        AttackError: An impossible budget, or parts that do not belong together.
        OwnershipError: A white-box objective without a declaration of ownership.
    """
    _check_parts(recipe, where)
    _check_budget(recipe, where)
    if recipe.student is not None:
        _check_objective(recipe, where)


def _check_parts(recipe: Recipe, where: str) -> None:
    is_classifier = recipe.teacher.kind == "classifier"
    if is_classifier and (recipe.student is not None or recipe.second_teacher is not None):
        raise AttackError(
            f"{where}: a classifier's attack has a table 'classifier', no 'student', and one teacher"
        )
    if not is_classifier and recipe.classifier is not None:
        raise AttackError(f"{where}: the table 'classifier' needs a teacher of kind 'classifier'")
    if is_classifier:
        strange = sorted({one.tactic for one in recipe.tactics} - CLASSIFIER_TACTICS)
        if strange or recipe.prompts.selection != "given" or recipe.prompts.source != "in_domain":
            allowed = ", ".join(sorted(CLASSIFIER_TACTICS))
            raise AttackError(
                f"{where}: an attack on a classifier takes the tactics {allowed} only, and chooses its own prompts; "
                f"got {', '.join(strange) or 'a prompt source or selection'}"
            )
    if recipe.hidden_size is not None:
        _check_reading(recipe, where)
    if recipe.prompts.selection not in ("given", "self_instruct") and recipe.student is None:
        raise AttackError(
            f"{where}: the selection '{recipe.prompts.selection}' asks what a student learnt: add a table 'student'"
        )
    second = any("second_teacher" in one.values for one in recipe.tactics)
    if second or (recipe.second_teacher is not None and recipe.second_teacher.kind == "classifier"):
        raise AttackError(
            f"{where}: a second teacher stands in the table 'second_teacher', not in the tactic, and is no classifier"
        )


def _check_reading(recipe: Recipe, where: str) -> None:
    strange = sorted({one.tactic for one in recipe.tactics} - CLASSIFIER_TACTICS)
    others = (
        recipe.student is not None or recipe.second_teacher is not None or recipe.teacher.kind == "replay"
    )
    if strange or others or recipe.prompts.selection != "given" or recipe.teacher.kind == "classifier":
        allowed = ", ".join(sorted(CLASSIFIER_TACTICS))
        raise AttackError(
            f"{where}: 'hidden_size' reads one language model's logits: it takes the tactics {allowed} only, no "
            f"'student', no 'second_teacher' and no 'selection'; got {', '.join(strange) or 'one of these'}"
        )
    table = recipe.hidden_size
    assert table is not None
    least = 2 + table.prompts * -(-(table.tokens - 1) // (table.top - 1))
    if recipe.budget.requests < least:
        raise AttackError(
            f"{where}: impossible budget: {table.prompts} prompts and {table.tokens} tokens take {least} requests "
            f"where log-probabilities show the bias, {2 + table.prompts * table.tokens} where they do not; "
            f"budget.requests is {recipe.budget.requests}"
        )


def _check_budget(recipe: Recipe, where: str) -> None:
    budget, rounds = recipe.budget, recipe.prompts.rounds
    most = recipe.ask.max_tokens
    if budget.output_tokens is not None and budget.output_tokens < most:
        raise AttackError(
            f"{where}: impossible budget: one request may take ask.max_tokens = {most} tokens, budget.output_tokens is "
            f"{budget.output_tokens}; raise it or lower ask.max_tokens"
        )
    if budget.money is not None and not budget.output_price_per_million + budget.input_price_per_million:
        raise AttackError(
            f"{where}: impossible budget: budget.money is {budget.money:g}, but nothing costs anything; give "
            "output_price_per_million or input_price_per_million"
        )
    price = budget.output_price_per_million * most / 1e6
    if budget.money is not None and budget.money < price:
        raise AttackError(
            f"{where}: impossible budget: one request may cost {price:g}, budget.money is {budget.money:g}"
        )
    if budget.requests < rounds:
        raise AttackError(
            f"{where}: impossible budget: {rounds} rounds need {rounds} requests, got {budget.requests}"
        )
    for one in recipe.tactics:
        if one.tactic == "T3" and round(budget.requests * (1 - one.strength)) < 1:
            raise AttackError(
                f"{where}: impossible budget: cover traffic of {one.strength:g} leaves no attack among "
                f"{budget.requests} requests"
            )


def _check_objective(recipe: Recipe, where: str) -> None:
    from kdguard.distill.recipes.families import family_of
    from kdguard.distill.students.objective import check_mix
    from kdguard.distill.whitebox.consent import consent_from
    from kdguard.simulate.attack.training import mix_of

    student = recipe.student
    if student is None or student.objective == "cross_entropy":
        return
    family = family_of(student.objective)
    if family.owned:
        consent_from(recipe.ownership)
    if family.kind not in ("fleet", "adversarial"):
        raise AttackError(
            f"{where}: '{student.objective}' needs a teacher at hand, and an attack works through its API; learn by it "
            "from the transcripts of this run, teacher and all, with `kdguard distill train`"
        )
    mix = mix_of(student)
    if family.kind == "adversarial" and mix.options:
        raise AttackError(
            f"{where}: '{student.objective}' has no option {', '.join(sorted(mix.options))}; it has: "
            f"{', '.join(family.options)}"
        )
    if family.kind == "fleet":
        check_mix(mix)
        _check_soft(recipe, student, where)


def _check_soft(recipe: Recipe, student: StudentTable, where: str) -> None:
    """Log-probabilities must be asked for, and reach the student."""
    if student.route != "reasoning":
        raise AttackError(
            f"{where}: the route '{student.route}' learns from texts; '{student.objective}' needs 'reasoning', the "
            "answer as it was told"
        )
    if any(one.tactic == "T12" and one.strength == 1 for one in recipe.tactics):
        raise AttackError(
            f"{where}: T12 at full strength cleans every answer, and a cleaned one has no log-probabilities to learn "
            f"from; lower it, or choose the objective 'cross_entropy'"
        )
    if recipe.ask.top_logprobs in (None, 0) and not any(one.tactic == "T9" for one in recipe.tactics):
        raise AttackError(
            f"{where}: '{student.objective}' learns from log-probabilities: set ask.top_logprobs or use the tactic T9"
        )
