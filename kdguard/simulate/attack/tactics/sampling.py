"""T5 and T9: more out of each prompt, by several samples or by log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate import tactics as moves
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.tactics.transform import chosen, mark


@dataclass(frozen=True)
class SamplingSweep:
    """T5: several choices, a ladder of temperatures, one seed after another.

    Attributes:
        strength: Share of the attack requests that do so.
        choices: Most choices of a request; 1 = leave them.
        temperatures: The ladder.
        seeds: Send seeds that count upwards.
    """

    strength: float
    choices: int = 4
    temperatures: tuple[float, ...] = (0.0, 0.4, 0.7, 1.0, 1.3)
    seeds: bool = True
    tactic: ClassVar[int] = 5

    def __post_init__(self) -> None:
        if (
            self.choices < 1
            or not self.temperatures
            or min(self.temperatures) < 0
            or max(self.temperatures) > 2
        ):
            raise AttackError("T5 needs choices >= 1 and temperatures from 0 to 2")

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Other sampling parameters in a share of the attack requests."""
        places = chosen(plan, self.strength, rng)
        n, turn = len(plan), np.cumsum(places) - 1
        several = rng.integers(min(2, self.choices), self.choices + 1, size=n)
        ladder = np.array(self.temperatures, np.float64)[turn % len(self.temperatures)]
        calls = replace(
            plan.calls,
            choices=np.where(places, several, plan.calls.choices) if self.choices > 1 else plan.calls.choices,
            temperature=np.where(places, ladder, plan.calls.temperature),
        )
        seed = np.where(places, int(rng.integers(10_000)) + turn, plan.seed) if self.seeds else plan.seed
        return mark(replace(plan, calls=calls, seed=seed), places, self.tactic)


@dataclass(frozen=True)
class LogprobHarvest:
    """T9: ask for the alternatives of each token, at times with a logit bias that brings up others.

    Attributes:
        strength: Share of the attack requests that ask.
        top: Alternatives asked for, at most 20 as over HTTP; None draws a number from 5 to 20 for the campaign.
        vocabulary: Token ids that a bias may name are below this.
    """

    strength: float
    top: int | None = 20
    vocabulary: int = 256
    tactic: ClassVar[int] = 9

    def __post_init__(self) -> None:
        if not (self.top is None or 1 <= self.top <= 20) or self.vocabulary < 2:
            raise AttackError(
                f"T9 needs top from 1 to 20 and a vocabulary, got {self.top} and {self.vocabulary}"
            )

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Log-probabilities in a share of the attack requests."""
        top = (5, 21) if self.top is None else (self.top, self.top + 1)
        limits = self.vocabulary // 2, self.vocabulary
        calls = moves.ask_logprobs(plan.calls, self.strength, rng, top=top, token_ids=limits)
        changed = (calls.logprobs != plan.calls.logprobs) | (calls.top_logprobs != plan.calls.top_logprobs)
        return mark(replace(plan, calls=calls), changed, self.tactic)
