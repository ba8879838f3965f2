"""T10: tear apart what belongs together: conversations over accounts, order, near duplicates."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from kdguard.simulate.attack.plan import Mask, Plan, take, with_accounts
from kdguard.simulate.attack.tactics.transform import chosen, mark, with_prompts

_WORD = re.compile(r"[^\W\d_]{4,}")


@dataclass(frozen=True)
class Splitting:
    """Send the turns of a conversation from different accounts, in another order, without near duplicates.

    Attributes:
        strength: Share of the attack requests that leave their session for one of their own, at another account
            where the operator has several, and whose prompts change places.
        drop_duplicates: Leave out that share of the near duplicates: prompts with the words, of four letters or
            more, of an earlier one.
    """

    strength: float
    drop_duplicates: bool = True
    tactic: ClassVar[int] = 10

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """The plan with a share of its attack requests torn out of their context."""
        if self.drop_duplicates:
            dropped = near_duplicates(plan) & (rng.random(len(plan)) < self.strength)
            plan = take(plan, np.flatnonzero(~dropped))
        moved = chosen(plan, self.strength, rng)
        rows = np.flatnonzero(moved)
        session = plan.calls.session.copy()
        session[rows] = session.max(initial=-1) + 1 + np.arange(len(rows))
        account, count = plan.account.copy(), len(plan.identities)
        account[rows] = (
            account[rows] + rng.integers(min(1, count - 1), max(count, 2), size=len(rows))
        ) % count
        shuffled = rng.permutation(rows)
        prompts = [plan.calls.prompt[i] for i in shuffled.tolist()]
        # What was drawn for a prompt goes with it: its technique, and the tools it needs.
        technique, tools = list(plan.technique), list(plan.calls.tools)
        for place, origin in zip(rows.tolist(), shuffled.tolist(), strict=True):
            technique[place], tools[place] = plan.technique[origin], plan.calls.tools[origin]
        bits = plan.tactics.copy()
        bits[rows] = plan.tactics[shuffled]
        calls = replace(plan.calls, session=session, tools=tools)
        plan = replace(plan, calls=calls, technique=technique, tactics=bits)
        torn = with_accounts(with_prompts(plan, moved, prompts), plan.identities, account, rng)
        return mark(torn, moved, self.tactic)


def near_duplicates(plan: Plan) -> Mask:
    """Attack requests whose words an earlier attack request had, shape (n,)."""
    seen: set[frozenset[str]] = set()
    found = np.zeros(len(plan), np.bool_)
    for i in np.flatnonzero(plan.attack).tolist():
        words = frozenset(_WORD.findall(plan.calls.prompt[i].lower()))
        found[i] = bool(words) and words in seen
        seen.add(words)
    return found
