"""T3: cover traffic. Ordinary requests among the extraction, as proxies that resell access send them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.plan import Plan, join, take
from kdguard.simulate.attack.tactics.transform import mark
from kdguard.simulate.seeds import hex_ids
from kdguard.simulate.setting import pick

MOST = 0.95


@dataclass(frozen=True)
class CoverTraffic:
    """Add benign requests, real chat where a data folder is given, to the accounts in use.

    Attributes:
        strength: Share of all requests that are benign afterwards, at most 0.95. Where the budget is full, cover
            traffic takes the place of extraction.
        kinds: Kinds of benign text.
    """

    strength: float
    kinds: tuple[str, ...] = ("chat", "question")
    tactic: ClassVar[int] = 3

    def __post_init__(self) -> None:
        if self.strength > MOST or not self.kinds:
            raise AttackError(f"T3 needs a strength of at most {MOST} and a kind, got {self.strength}")

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Benign prompts, with a chat client's defaults, near the times and from the accounts of those there are."""
        plan = self._make_room(plan, rng)
        attack = int(plan.attack.sum())
        wanted = round(self.strength / (1 - self.strength) * attack) - (len(plan) - attack)
        if wanted <= 0 or attack == 0:
            return plan
        added = take(plan, rng.integers(len(plan), size=wanted))
        kinds = [pick(rng, self.kinds) for _ in range(wanted)]
        prompts = [plan.setting.pools.draw(kind, 1, rng)[0] for kind in kinds]
        nothing: list[str | None] = [None] * wanted
        unsent = np.full(wanted, -1, np.int64)
        calls = replace(
            added.calls,
            time=added.calls.time + (rng.exponential(900, size=wanted) * 1e6).astype(np.int64),
            session=np.where(added.calls.session < 0, -1, plan.calls.session.max() + 1 + np.arange(wanted)),
            prompt=prompts,
            system=nothing,
            tools=nothing,
            temperature=np.full(wanted, np.nan),
            max_tokens=unsent,
            logit_bias=nothing,
            logprobs=unsent,
            top_logprobs=unsent,
            choices=unsent,
            attack=np.zeros(wanted, np.bool_),
        )
        added = replace(
            added,
            calls=calls,
            request_id=hex_ids(rng, wanted),
            seed=unsent,
            technique=nothing,
            tactics=np.zeros(wanted, np.int64),
            clean=np.zeros(wanted, np.bool_),
        )
        return join(plan, mark(added, np.ones(wanted, np.bool_), self.tactic))

    def _make_room(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """Leave out extraction where the budget of requests could not hold the cover traffic besides it."""
        most = max(1, round(plan.budget.requests * (1 - self.strength)))
        attack = np.flatnonzero(plan.attack)
        if len(attack) <= most:
            return plan
        dropped = rng.permutation(attack)[most:]
        return take(plan, np.setdiff1d(np.arange(len(plan)), dropped))
