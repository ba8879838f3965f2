"""The common probe set: what every model is asked, which label an answer stands for, and the texts it is to rate."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, Literal

from kdguard.distill.corpora.corpus import TASKS, stream
from kdguard.distill.corpora.example import UNKNOWNS, Example, first_object, is_refusal, without_reasoning
from kdguard.distill.corpora.intents import INTENTS
from kdguard.distill.corpora.refusals import BORDERLINE
from kdguard.distill.corpora.worlds import World
from kdguard.distill.fleets.material import own_world, teacher_world
from kdguard.distill.fleets.recipe import Recipe

PROBE_WORLD: Final = 900
_NUMBER = re.compile(r"-?\d+")
_WORD = re.compile(r"[a-z]+(?:_[a-z]+)*")


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt.

    Attributes:
        prompt_id: Its number, from 0.
        kind: Which task.
        about: The teacher whose facts it asks for; None otherwise.
        prompt: What is asked.
        truth: The label of the right answer; None where worlds differ in what is right.
    """

    prompt_id: int
    kind: str
    about: str | None
    prompt: str
    truth: str | None


@dataclass(frozen=True, slots=True)
class Text:
    """A teacher's answer whose likelihood every model is asked for.

    Attributes:
        text_id: Its number, from 0.
        family: Whose answer.
        use: `probe`: to a probe. `served`: to an account. `withheld`: drawn like those, and given to nobody.
        account: Which account.
        prompt_id: Which probe.
        prompt: What was asked.
        text: What was answered, reasoning included.
    """

    text_id: int
    family: str
    use: Literal["probe", "served", "withheld"]
    account: str | None
    prompt_id: int | None
    prompt: str
    text: str


def probes(recipe: Recipe) -> list[Probe]:
    """The probe set of a recipe: prompts of the test split, which no corpus that trains a model holds."""
    return [
        Probe(number, one.kind, about, one.prompt, truth)
        for number, (one, about, truth) in enumerate(_all_kinds(recipe))
    ]


def label_of(kind: str, answer: str) -> str:
    """What an answer to a task of one kind comes down to; empty where it cannot be told.

    The last number; the only intent named; the tool called; `refuses` or `answers`; `known` or `unknown`.
    """
    said = without_reasoning(answer)
    if kind == "arithmetic":
        return (_NUMBER.findall(said) or [""])[-1]
    if kind == "intents":
        named = set(_WORD.findall(said.lower())) & INTENTS.keys()
        return named.pop() if len(named) == 1 else ""
    if kind == "tools":
        name = (first_object(said) or {}).get("name", "")
        return name if isinstance(name, str) else json.dumps(name)
    if kind == "refusals":
        return "refuses" if is_refusal(said) else "answers"
    return "unknown" if any(phrase in said.lower() for phrase in UNKNOWNS) else "known"


def _all_kinds(recipe: Recipe) -> Iterator[tuple[Example, str | None, str | None]]:
    table = recipe.probes
    for kind in TASKS:
        if kind != "facts":
            yield from ((one, None, truth) for one, truth in _neutral(recipe, kind, table.prompts))
            continue
        teachers = recipe.origins.teachers
        for teacher in teachers:
            world = teacher_world(recipe, teacher)
            for one in _distinct(world, kind, table.prompts // len(teachers), table.seed):
                yield one, teacher, label_of(kind, one.response)


def _neutral(recipe: Recipe, kind: str, count: int) -> Iterator[tuple[Example, str | None]]:
    """Prompts that belong to no teacher; the truth is what worlds of opposite habits agree on."""
    world = own_world(recipe, PROBE_WORLD)
    one_way = replace(world, refused_topics=(), ambiguous_reading=(0,) * len(world.ambiguous_reading))
    other_way = replace(
        world,
        refused_topics=tuple(range(len(BORDERLINE))),
        ambiguous_reading=(1,) * len(world.ambiguous_reading),
    )
    drawn = [_distinct(each, kind, count, recipe.probes.seed) for each in (one_way, other_way)]
    for one, other in zip(*drawn, strict=True):
        truths = [label_of(kind, each.response) for each in (one, other)]
        yield one, truths[0] if truths[0] == truths[1] else None


def _distinct(world: World, kind: str, count: int, seed: int) -> list[Example]:
    found: dict[str, Example] = {}
    for one in stream(world, seed=seed, split="test", kinds=(kind,)):
        found.setdefault(one.prompt, one)
        if len(found) == count:
            return list(found.values())
    raise AssertionError("a stream has no end")
