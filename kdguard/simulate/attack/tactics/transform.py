"""What a tactic is, and how several are applied one after another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.plan import Mask, Plan, within_budget
from kdguard.simulate.seeds import stream

TACTICS = 13


class TrafficTransform(Protocol):
    """One tactic: a frozen value that makes a plan from a plan.

    What it may change: who asks, when, how and in which words; it may add cover traffic and leave requests out.
    What it never does: give an id to another request, or turn an attack request into a benign one or back.
    """

    @property
    def tactic(self) -> int:
        """From 1 (T1) to 13 (T13)."""
        ...

    @property
    def strength(self) -> float:
        """From 0, which changes nothing, to 1; each tactic says what it measures."""
        ...

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """The plan after the tactic; called with a strength above 0 only."""
        ...


def apply(plan: Plan, transforms: Sequence[TrafficTransform], seed: int) -> Plan:
    """Apply tactics in order; what they make beyond the budget is left out.

    Args:
        plan: Where to begin.
        transforms: In any order, each also more than once.
        seed: Each tactic has a stream of its own, whatever stands before it.
    """
    seen: Counter[int] = Counter()
    for transform in transforms:
        if not 0 <= transform.strength <= 1:
            raise AttackError(f"{label(transform)}: strength must be from 0 to 1, got {transform.strength}")
        rng = stream(seed, "tactic", str(transform.tactic), str(seen[transform.tactic]))
        seen[transform.tactic] += 1
        if transform.strength > 0:
            plan = within_budget(transform.act(plan, rng))
    return plan


def chosen(plan: Plan, strength: float, rng: np.random.Generator) -> Mask:
    """A share `strength` of the attack requests, drawn one by one; shape (n,)."""
    return plan.attack & (rng.random(len(plan)) < strength)


def mark(plan: Plan, places: Mask, tactic: int) -> Plan:
    """Note that a tactic changed the requests at some places."""
    return replace(plan, tactics=plan.tactics | np.where(places, 1 << (tactic - 1), 0))


def with_prompts(plan: Plan, places: Mask, prompts: Sequence[str]) -> Plan:
    """Other prompts at some places, in their order."""
    found = list(plan.calls.prompt)
    for place, text in zip(np.flatnonzero(places).tolist(), prompts, strict=True):
        found[place] = text
    return replace(plan, calls=replace(plan.calls, prompt=found))


def label(transform: TrafficTransform) -> str:
    """Name of a tactic, for messages and labels: `T1` to `T13`."""
    return f"T{transform.tactic}"


def describe(transforms: Sequence[TrafficTransform]) -> str:
    """Tactics in use and their strengths, as account labels hold them."""
    return ",".join(f"{label(one)}={one.strength:g}" for one in transforms if one.strength > 0)


def names(bits: int) -> str:
    """Tactics in a mark, as request labels hold them."""
    return ",".join(f"T{i + 1}" for i in range(TACTICS) if bits >> i & 1)
