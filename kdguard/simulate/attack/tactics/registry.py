"""Tactics by number, and from the tables of a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.selection.relevance import relevant_and_diverse
from kdguard.simulate.attack.sources.registry import Supplies, source
from kdguard.simulate.attack.tactics.cleaning import Cleaning
from kdguard.simulate.attack.tactics.cover import CoverTraffic
from kdguard.simulate.attack.tactics.elicitation import Elicitation
from kdguard.simulate.attack.tactics.pacing import Drip, RateShaping
from kdguard.simulate.attack.tactics.prompts import ActiveSelection, Choose, PromptMix, cover_most
from kdguard.simulate.attack.tactics.sampling import LogprobHarvest, SamplingSweep
from kdguard.simulate.attack.tactics.splitting import Splitting
from kdguard.simulate.attack.tactics.sybil import Sybil
from kdguard.simulate.attack.tactics.transform import TrafficTransform
from kdguard.simulate.attack.tactics.wording import Paraphrase, Rotation

TACTICS: Mapping[str, Any] = {
    "T1": Sybil,
    "T2": RateShaping,
    "T3": CoverTraffic,
    "T4": Paraphrase,
    "T5": SamplingSweep,
    "T6": PromptMix,
    "T7": ActiveSelection,
    "T8": Elicitation,
    "T9": LogprobHarvest,
    "T10": Splitting,
    "T11": Rotation,
    "T12": Cleaning,
    "T13": Drip,
}
CHOICES = ("k_centre", "relevance")
_NOT_IN_RECIPES = frozenset({"rewrite"})
_TUPLES = frozenset({"temperatures", "kinds"})


def keys_of(name: str) -> tuple[str, ...]:
    """Keys that a recipe may give for a tactic.

    Raises:
        AttackError: There is no such tactic.
    """
    if name not in TACTICS:
        raise AttackError(f"no tactic '{name}'; there are: {', '.join(TACTICS)}")
    return tuple(item.name for item in fields(TACTICS[name]) if item.name not in _NOT_IN_RECIPES)


def tactic(name: str, values: Mapping[str, Any], supplies: Supplies) -> TrafficTransform:
    """A tactic from the values of a recipe; sources and choices by name.

    Raises:
        AttackError: No such tactic, an unknown key, or a value that it refuses.
    """
    unknown = sorted(values.keys() - set(keys_of(name)))
    if unknown:
        raise AttackError(
            f"{name}: unknown key {', '.join(unknown)}; allowed are: {', '.join(keys_of(name))}"
        )
    given: dict[str, Any] = {key: tuple(value) if key in _TUPLES else value for key, value in values.items()}
    if name in ("T6", "T7"):
        given["source"] = source(given.get("source", "public"), supplies)
    if "choose" in given:
        given["choose"] = _choice(given["choose"], supplies)
    try:
        found: TrafficTransform = TACTICS[name](**given)
    except TypeError as error:
        raise AttackError(f"{name}: a value has the wrong type: {error}") from error
    return found


def _choice(name: str, supplies: Supplies) -> Choose:
    if name == "k_centre":
        return cover_most
    if name == "relevance":
        task = supplies.in_domain[:50]

        def choose(candidates: Any, count: int, rng: np.random.Generator) -> Any:
            return relevant_and_diverse(candidates, task, count, seed=int(rng.integers(2**31)))

        return choose
    raise AttackError(f"T7: no choice '{name}'; there are: {', '.join(CHOICES)}")
