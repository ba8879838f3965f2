"""From a recipe to the plan of its traffic."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.errors import AttackError
from kdguard.simulate.activity import Call
from kdguard.simulate.attack.plan import Budget, Plan, draw_plan
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.rounds import slots
from kdguard.simulate.attack.sources.registry import Supplies, source
from kdguard.simulate.attack.sources.source import PromptSource
from kdguard.simulate.attack.tables import TacticTable, ToyTeacher
from kdguard.simulate.attack.tactics.registry import tactic
from kdguard.simulate.attack.tactics.transform import TrafficTransform, apply
from kdguard.simulate.pools import Pools, Split
from kdguard.simulate.seeds import stream
from kdguard.simulate.setting import DAY, Setting, public_exits

SECOND = "second-teacher"
"""Model name of the second teacher inside a plan; the log has the name that it answers by."""
_POOL_SIZE = 2_000


def make_stage(recipe: Recipe, *, split: Split = "test", data: Path | None = None) -> Setting:
    """Calendar, texts and addresses.

    Raises:
        AttackError: The start is not a date.
    """
    try:
        start = datetime.fromisoformat(recipe.campaign.start).replace(tzinfo=UTC)
    except ValueError as error:
        raise AttackError(
            f"campaign.start must be a date such as 2026-09-01, got '{recipe.campaign.start}'"
        ) from error
    first = int(start.timestamp()) * 1_000_000
    return Setting(
        pools=Pools(split, data, _POOL_SIZE),
        start=first,
        days=max(1, round(recipe.campaign.days)),
        volume_median=20,
        volume_sigma=1.0,
        volume_cap=recipe.budget.requests,
        release=first + int(recipe.campaign.days * DAY),
        exits=public_exits(recipe.seed),
    )


def supplies(recipe: Recipe, setting: Setting) -> Supplies:
    """What prompt sources draw from: prompts of the teacher's own tasks, and public texts."""
    toy = recipe.teacher if isinstance(recipe.teacher, ToyTeacher) else None
    world = recipe.prompts.world or (toy.world if toy else "aurora")
    tasks = recipe.prompts.tasks or (toy.tasks if toy else ("arithmetic", "intents"))
    # Other seeds than the teacher's: the same tasks, mostly other examples of them.
    found = examples(
        world_of(world), max(2 * recipe.budget.requests, 50), seed=recipe.seed + 7_919, kinds=tasks
    )
    return Supplies(tuple(dict.fromkeys(one.prompt for one in found)), setting.pools)


def prompt_source(recipe: Recipe, setting: Setting) -> PromptSource:
    """The recipe's source of prompts."""
    return source(recipe.prompts.source, supplies(recipe, setting))


def make_tactics(
    recipe: Recipe, setting: Setting, vocabulary: int | None = None
) -> tuple[TrafficTransform, ...]:
    """The recipe's tactics, in order."""
    drawn_from = supplies(recipe, setting) if recipe.tactics else Supplies(())
    return tuple(tactic(one.tactic, _values(one, recipe, vocabulary), drawn_from) for one in recipe.tactics)


def _values(table: TacticTable, recipe: Recipe, vocabulary: int | None) -> dict[str, object]:
    values = table.values
    if table.tactic == "T12" and recipe.second_teacher is not None:
        values |= {"second_teacher": SECOND}
    if table.tactic == "T9" and vocabulary is not None:
        values.setdefault("vocabulary", vocabulary)
    return values


def make_plan(recipe: Recipe, setting: Setting, tactics: Sequence[TrafficTransform]) -> Plan:
    """The plan of a recipe after its tactics."""
    count = recipe.budget.requests
    makes_up_its_own = recipe.teacher.kind == "classifier" or recipe.hidden_size is not None
    chosen_later = recipe.prompts.selection != "given" or makes_up_its_own
    prompts = (
        slots(count)
        if chosen_later
        else prompt_source(recipe, setting).draw(count, stream(recipe.seed, "prompts"))
    )
    plan = draw_plan(
        setting,
        prompts,
        budget=Budget(count, recipe.budget.output_tokens),
        seed=recipe.seed,
        call=_call(recipe),
        technique=recipe.campaign.technique,
        days=recipe.campaign.days,
        turns=recipe.campaign.turns,
    )
    return apply(plan, tactics, recipe.seed)


def _call(recipe: Recipe) -> Call:
    """What is sent with every prompt; the readings of a hidden size know themselves what they need."""
    if recipe.hidden_size is not None:
        return Call(max_tokens=1, temperature=0.0, logprobs=True, top_logprobs=recipe.hidden_size.top)
    ask = recipe.ask
    return Call(
        system=ask.system,
        max_tokens=ask.max_tokens,
        temperature=ask.temperature,
        logprobs=None if ask.top_logprobs is None else True,
        top_logprobs=ask.top_logprobs,
    )
