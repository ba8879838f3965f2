"""Do accidents of the generator give attackers away? `python -m tests.bench leaks [--owners N] [--seeds N]`.

One JSON line a set of campaigns, beside honest owners: areas under the curve (`kdguard.simulate.audit`) of a forest
over trivial fields, with one account an owner and with all accounts, and of a bag of words. Every technique alone,
every adaptive tactic of the evaluation, and the tactics that share or change identities; a mean over seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

import numpy as np

from kdguard.simulate.audit import audit
from kdguard.simulate.campaign import Campaign, Tactics
from kdguard.simulate.evaluation.plan import ADAPTIVE
from kdguard.simulate.techniques import TECHNIQUES
from kdguard.simulate.traffic import simulate
from kdguard.simulate.world import World

_TACTICS = dict(ADAPTIVE) | {
    "shared addresses": Tactics(shared_addresses=0.5),
    "shared cards": Tactics(shared_cards=0.5),
    "succession": Tactics(succession=0.5),
}
_WORDED = ("cot_elicit", "trace_coercion", "rubric_grade", "evol_instruct")
_CAMPAIGNS, _ACCOUNTS = 16, 5


def sets() -> Iterator[tuple[str, tuple[Campaign, ...]]]:
    """Name and campaigns of each set: sixteen campaigns of five accounts with the volumes of honest ones."""
    for technique in TECHNIQUES:
        yield technique, _campaigns((technique,), Tactics(), 1.0)
    yield "all, a tenth of the traffic", _campaigns(TECHNIQUES, Tactics(), 0.1)
    for name, tactics in _TACTICS.items():
        yield f"tactic: {name}", _campaigns(_WORDED, tactics, 1.0)


def _campaigns(techniques: tuple[str, ...], tactics: Tactics, mix: float) -> tuple[Campaign, ...]:
    return tuple(
        Campaign(techniques[at % len(techniques)], f"c{at}", _ACCOUNTS, None, mix, None, tactics)
        for at in range(_CAMPAIGNS)
    )


def main() -> None:
    """Print one JSON line a set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--owners", type=int, default=300)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    for name, campaigns in sets():
        world = World("leaks", given.owners, volume_median=15, volume_cap=150, campaigns=campaigns)
        found = [audit(simulate(world, seed=seed), seed=seed) for seed in range(given.seeds)]
        told = {
            field: [round(getattr(one, field), 3) for one in found]
            for field in ("trivial", "trivial_accounts", "words")
        }
        means = {field: round(float(np.mean(values)), 3) for field, values in told.items()}
        print(json.dumps({"bench": "leaks", "set": name} | means | {"by_seed": told}), flush=True)


if __name__ == "__main__":
    main()
