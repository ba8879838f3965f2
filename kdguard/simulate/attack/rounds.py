"""Prompts chosen round by round: a plan whose prompts are not known yet, filled stretch by stretch.

Such a plan holds slots, `⟦0⟧`, `⟦1⟧`, ...; tactics may word things around them, and each round fills the slots of its
own stretch of time.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import numpy as np

from kdguard.distill.transcripts.reader import Transcripts
from kdguard.simulate.attack.plan import Plan, take
from kdguard.simulate.setting import Ints

_SLOT = re.compile(r"⟦(\d+)⟧")


def slots(count: int) -> list[str]:
    """Prompts to be filled in later."""
    return [f"⟦{i}⟧" for i in range(count)]


def fill(plan: Plan, places: Sequence[int], payloads: Sequence[str]) -> Plan:
    """Put payloads into the slots at some places, in the order of places; more payloads than slots are left over."""
    prompts, waiting = list(plan.calls.prompt), iter(payloads)
    for place in places:
        hit = _SLOT.search(prompts[place])
        if hit is not None:
            prompts[place] = prompts[place].replace(hit[0], next(waiting))
    return replace(plan, calls=replace(plan.calls, prompt=prompts))


def open_slots(plan: Plan, places: Sequence[int]) -> int:
    """How many of the requests at some places have no prompt yet."""
    return sum(_SLOT.search(plan.calls.prompt[place]) is not None for place in places)


def stretches(plan: Plan, rounds: int) -> list[Ints]:
    """Places of each round: as many requests each, one stretch of time after another."""
    return np.array_split(np.arange(len(plan)), rounds)


class Prompts(Protocol):
    """Chooses the prompts of each round: `kdguard.simulate.attack.chooser.Chooser`."""

    @property
    def rounds(self) -> int:
        """How many there are."""
        ...

    def first(self, count: int) -> list[str]:
        """Prompts of the first round."""
        ...

    def next(self, number: int, count: int, plan: Plan, told: Transcripts) -> list[str]:
        """Prompts of a later round, from what was answered before."""
        ...


def run_rounds(
    plan: Plan,
    chooser: Prompts,
    ask: Callable[[Plan, Sequence[int]], bool],
    read: Callable[[Plan], Transcripts],
) -> Plan:
    """Ask a plan round by round.

    Args:
        plan: With slots, or with prompts where nothing is chosen.
        chooser: Fills slots.
        ask: Asks the requests at some places and keeps the answers; False where no more can be paid for.
        read: What was answered to a plan so far.

    Returns:
        The plan with all prompts of the rounds that were asked.
    """
    parts = stretches(plan, chooser.rounds)
    for number, places in enumerate(parts):
        count = open_slots(plan, places.tolist())
        if count and number == 0:
            plan = fill(plan, places.tolist(), chooser.first(count))
        elif count:
            # A run that goes on knows later answers already; what was chosen without them must be chosen again.
            told = read(take(plan, np.concatenate(parts[:number])))
            plan = fill(plan, places.tolist(), chooser.next(number, count, plan, told))
        if not ask(plan, places.tolist()):
            break
    return plan
