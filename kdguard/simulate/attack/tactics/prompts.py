"""T6 and T7: which prompts are sent, from another source or chosen among many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.selection.embeddings import embed
from kdguard.simulate.attack.selection.k_centre import k_centre
from kdguard.simulate.attack.sources.source import PromptSource
from kdguard.simulate.attack.tactics.transform import chosen, mark, with_prompts
from kdguard.simulate.setting import Ints

Choose = Callable[[Sequence[str], int, np.random.Generator], Ints]


def cover_most(candidates: Sequence[str], count: int, rng: np.random.Generator) -> Ints:
    """Greedy k-centre on hashed n-grams, from a random first candidate."""
    return k_centre(embed(candidates), count, first=int(rng.integers(len(candidates))))


@dataclass(frozen=True)
class PromptMix:
    """T6: prompts of another source.

    Attributes:
        strength: Share of the attack requests with such a prompt.
        source: Where they come from.
    """

    strength: float
    source: PromptSource
    tactic: ClassVar[int] = 6

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Other prompts in a share of the attack requests."""
        places = chosen(plan, self.strength, rng)
        return mark(with_prompts(plan, places, self.source.draw(int(places.sum()), rng)), places, self.tactic)


@dataclass(frozen=True)
class ActiveSelection:
    """T7: prompts chosen among many candidates.

    Attributes:
        strength: Share of the attack requests with a chosen prompt.
        source: Where candidates come from.
        choose: Picks places among candidates. A choice by a student's probabilities closes over the student.
        pool: Candidates for each chosen prompt.
    """

    strength: float
    source: PromptSource
    choose: Choose = cover_most
    pool: int = 4
    tactic: ClassVar[int] = 7

    def __post_init__(self) -> None:
        if self.pool < 1:
            raise AttackError(f"T7 needs at least one candidate for each prompt, got {self.pool}")

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Chosen prompts in a share of the attack requests."""
        places = chosen(plan, self.strength, rng)
        count = int(places.sum())
        if count == 0:
            return plan
        candidates = list(dict.fromkeys(self.source.draw(count * self.pool, rng)))
        found = self.choose(candidates, min(count, len(candidates)), rng)
        # A source with fewer different prompts than requests has to repeat itself.
        prompts = [candidates[place] for place in np.resize(found, count).tolist()]
        return mark(with_prompts(plan, places, prompts), places, self.tactic)
