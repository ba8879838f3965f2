"""Flags in a month that holds honest accounts and a few attackers: how many of them are false?"""

from __future__ import annotations

from typing import Any

import numpy as np

from kdguard.scoring.score import AccountScores
from kdguard.simulate.evaluation.plan import Plan
from kdguard.verdict import select_owners

ATTACKER_SHARES = (0.0, 0.02, 0.1)


def discoveries(benign: AccountScores, attack: AccountScores, plan: Plan, world: int) -> list[dict[str, Any]]:
    """Flag a month of honest accounts with so many attackers among them.

    A flag is what `kdguard score` gives under an active guarantee: p_value at most alpha, and selected by
    Benjamini-Hochberg over owners on p_pooled; permitted accounts are never flagged.

    Args:
        benign: All honest test accounts.
        attack: Attack accounts of the grid; a seeded draw of them joins.
        plan: Levels and seed.
        world: Number of the world.
    """
    found = []
    for share in ATTACKER_SHARES:
        rng = np.random.default_rng(plan.seed_of(world, f"discoveries-{share}"))
        wanted = min(round(share * len(benign.facts) / (1 - share)), len(attack.facts))
        picks = rng.choice(len(attack.facts), size=wanted, replace=False)
        p_pooled = np.concatenate([benign.p_pooled, attack.p_pooled[picks]])
        p_value = np.concatenate([benign.p_value, attack.p_value[picks]])
        permitted = np.concatenate([benign.facts.permitted, attack.facts.permitted[picks]])
        owners = [str(owner) for owner in np.concatenate([benign.facts.owner, attack.facts.owner[picks]])]
        selected = select_owners(p_pooled.tolist(), owners, plan.fdr)
        flagged = selected & ~permitted & np.nan_to_num(p_value <= plan.alpha)
        is_attack = np.arange(len(flagged)) >= len(benign.facts)
        found.append(
            {
                "share": share,
                "attackers": int(wanted),
                "found": int(np.sum(flagged & is_attack)),
                "false": int(np.sum(flagged & ~is_attack)),
                "false_selected": int(np.sum(selected & ~is_attack)),
                "selected": int(np.sum(selected)),
            }
        )
    return found
