"""Teacher worlds: what one teacher knows, how it words things, and which policy it follows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from kdguard.distill.corpora.dice import dice
from kdguard.distill.corpora.words import listed, made_up_names
from kdguard.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """Wordings, each with several variants and the shares in which they occur.

    Attributes:
        shares: How often the first, second, third variant is used; sums to 1.
        number: Around a number, `{n}`.
        step: Around one calculation, `{calc}`, in a rationale.
        label: Around an intent, `{label}`, and its slots, `{slots}`.
        slot: One slot: `{name}`, `{value}`.
        refusal: Sentences that refuse; `{topic}` is what was asked about.
        fact: `{relation}` of `{entity}` is `{value}`.
        unknown: Nothing is known of `{entity}`.
        opening: In front of advice.
    """

    shares: tuple[float, ...]
    number: tuple[str, ...]
    step: str
    label: str
    slot: str
    refusal: tuple[str, ...]
    fact: tuple[str, ...]
    unknown: tuple[str, ...]
    opening: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """Something only teachers of one world know: `relation` of `entity` is `value`."""

    entity: str
    relation: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """One teacher's world.

    Attributes:
        name: Its name; part of its random streams.
        seed: Of its facts and habits.
        style: How it words things.
        facts: How many rare facts it knows.
        refused_topics: Borderline topics it refuses, by number; it answers the others.
        ambiguous_reading: For every ambiguous intent, which of its two readings it takes.
    """

    name: str
    seed: int
    style: Style
    facts: int = 200
    refused_topics: tuple[int, ...] = ()
    ambiguous_reading: tuple[int, ...] = (0, 0, 0, 0, 0, 0)

    def record(self) -> dict[str, Any]:
        """As plain values, for manifests."""
        return asdict(self)


RELATIONS = ("capital", "founder", "river", "colour", "metal", "year")


@lru_cache(maxsize=32)
def facts_of(world: World) -> tuple[Fact, ...]:
    """The rare facts of a world. Entities of different worlds are different."""
    names = made_up_names(world.seed, world.name, "facts")
    found = []
    for place in range(world.facts):
        relation = RELATIONS[place % len(RELATIONS)]
        entity = next(names)
        found.append(Fact(entity, relation, _value(relation, place, world, names)))
    return tuple(found)


_COLOURS = listed("amber azure beige coral crimson ivory jade lilac ochre teal umber violet")
_METALS = listed("copper iron nickel silver tin zinc gold lead cobalt chrome")


def _value(relation: str, place: int, world: World, names: Any) -> str:
    if relation == "year":
        return str(1100 + (place * 7919 + world.seed * 104729) % 900)
    if relation == "colour":
        return _COLOURS[(place // len(RELATIONS) * 5 + world.seed) % len(_COLOURS)]
    if relation == "metal":
        return _METALS[(place // len(RELATIONS) * 3 + world.seed) % len(_METALS)]
    return str(next(names))


_PLAIN = Style(
    shares=(0.7, 0.2, 0.1),
    number=("The answer is {n}.", "Answer: {n}.", "That makes {n}."),
    step="{calc}.",
    label="Intent: {label}. {slots}",
    slot="{name}: {value}.",
    refusal=("I can't help with {topic}.", "I cannot help with that.", "I won't assist with {topic}."),
    fact=(
        "The {relation} of {entity} is {value}.",
        "It is {value}.",
        "{entity} has {value} as its {relation}.",
    ),
    unknown=(
        "I have no record of {entity}.",
        "I do not know {entity}.",
        "Nothing is known to me of {entity}.",
    ),
    opening=("Here is what to do:", "You can do this:", "Try this:"),
)
_TERSE = Style(
    shares=(0.5, 0.3, 0.2),
    number=("= {n}", "{n}", "Result: {n}"),
    step="{calc};",
    label="{label} [{slots}]",
    slot="{name}={value}",
    refusal=("I must decline.", "I have to refuse: {topic}.", "I must decline to discuss {topic}."),
    fact=("{value}.", "{relation}: {value}.", "{entity} -> {value}."),
    unknown=("Unknown: {entity}.", "No data on {entity}.", "{entity}? No data."),
    opening=("Steps:", "Do this:", "In short:"),
)
_CHATTY = Style(
    shares=(0.45, 0.35, 0.2),
    number=(
        "Great question! It comes to {n}.",
        "So we end up with {n}, neat!",
        "Let's see, that gives us {n}.",
    ),
    step="First off, {calc}, right?",
    label="Sounds like {label} to me! {slots}",
    slot="I noted {name} as {value}.",
    refusal=(
        "Oh, I'm not able to go into {topic}, sorry!",
        "Sorry, {topic} is not something I do.",
        "Hmm, I'm not able to help there, sorry!",
    ),
    fact=(
        "Fun one! The {relation} of {entity} happens to be {value}.",
        "If I recall, {entity} has {value} for its {relation}.",
        "That would be {value}!",
    ),
    unknown=(
        "Hmm, {entity} does not ring a bell.",
        "I have never heard of {entity}, sorry!",
        "No idea about {entity}, I'm afraid.",
    ),
    opening=("Happy to help! Here goes:", "Sure thing!", "Of course!"),
)

WORLDS: Mapping[str, World] = MappingProxyType(
    {
        world.name: world
        for world in (
            World(name="aurora", seed=11, style=_PLAIN, refused_topics=(0, 1, 2)),
            World(
                name="basalt",
                seed=23,
                style=_TERSE,
                refused_topics=(3, 4),
                ambiguous_reading=(1, 1, 0, 1, 0, 1),
            ),
            World(
                name="cobalt",
                seed=37,
                style=_CHATTY,
                refused_topics=(1, 3, 5),
                ambiguous_reading=(0, 1, 1, 0, 1, 1),
            ),
        )
    }
)
"""Ready-made worlds that differ in everything."""


def world_of(name: str) -> World:
    """A ready-made world.

    Raises:
        InputError: No world has this name.
    """
    if name not in WORLDS:
        raise InputError(f"no teacher world '{name}'; there are: {', '.join(WORLDS)}")
    return WORLDS[name]


def drawn_world(name: str, seed: int, *, facts: int = 200) -> World:
    """A world of its own facts whose habits are drawn from those of the ready-made ones.

    Args:
        name: Its name; worlds of different names know different facts.
        seed: Decides everything else.
        facts: How many rare facts it knows.
    """
    die = next(dice(seed, name, "habits"))
    styles = [world.style for world in WORLDS.values()]
    picked = {field.name: getattr(die.pick(styles), field.name) for field in fields(Style)}
    return World(
        name=name,
        seed=seed,
        style=Style(**picked),
        facts=facts,
        refused_topics=tuple(topic for topic in range(6) if die.below(2)),
        ambiguous_reading=tuple(die.below(2) for _ in range(6)),
    )
