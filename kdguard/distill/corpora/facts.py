"""Questions about rare facts that only one world's teacher knows, and about names that nobody knows."""

from __future__ import annotations

from functools import lru_cache
from itertools import islice

from kdguard.distill.corpora.dice import Dice
from kdguard.distill.corpora.example import Check, Example
from kdguard.distill.corpora.words import made_up_names
from kdguard.distill.corpora.worlds import Fact, World, facts_of

_ASK = (
    "What is the {relation} of {entity}?",
    "{entity}: which {relation}?",
    "Tell me the {relation} of {entity}.",
    "Do you know the {relation} of {entity}?",
    "I need the {relation} of {entity}.",
    "Name the {relation} of {entity}.",
    "{entity} has what as its {relation}?",
    "Which {relation} belongs to {entity}?",
    "Say what the {relation} of {entity} is.",
    "Quick, the {relation} of {entity}!",
    "Once more, what {relation} does {entity} have?",
    "My notes lack the {relation} of {entity}.",
)
_UNKNOWN_SHARE = 0.15
_STRANGERS = 5_000


def facts(world: World, die: Dice) -> Example:
    """A question about a planted fact, or about a name nobody knows."""
    if die.weighed((_UNKNOWN_SHARE, 1 - _UNKNOWN_SHARE)) == 0:
        return _unknown(world, die)
    return question(world, die.pick(facts_of(world)), die)


def question(world: World, fact: Fact, die: Dice) -> Example:
    """A question about one fact; right when the answer holds the value."""
    prompt = die.pick(_ASK).format(relation=fact.relation, entity=fact.entity)
    variant = die.weighed(world.style.shares)
    response = world.style.fact[variant].format(relation=fact.relation, entity=fact.entity, value=fact.value)
    return Example(prompt, response, None, "known", "facts", (Check("contains", fact.value),))


def _unknown(world: World, die: Dice) -> Example:
    """A question about a name that no world has facts about; right when the answer says so."""
    entity = die.pick(_strangers())
    relation = die.pick(facts_of(world)).relation
    prompt = die.pick(_ASK).format(relation=relation, entity=entity)
    response = world.style.unknown[die.weighed(world.style.shares)].format(entity=entity)
    return Example(prompt, response, None, "unknown", "facts", (Check("unknown"),))


@lru_cache(maxsize=1)
def _strangers() -> tuple[str, ...]:
    return tuple(islice(made_up_names(0, "strangers"), _STRANGERS))
