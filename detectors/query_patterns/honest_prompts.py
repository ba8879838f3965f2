"""Prompts of simulated honest owners, for providers that have few of their own."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np

from kdguard.scoring.passes import sample_prompts
from kdguard.simulate.traffic import simulate
from kdguard.simulate.world import load_world

_OWNERS = 600
_SEED = 6
_MOST_REQUESTS = 60


@cache
def honest_prompts() -> tuple[str, ...]:
    """About 17,000 prompts and system prompts of 600 owners, in an order that is no owner's.

    From owners and not from the generators of texts: what a classifier must learn to leave alone is how honest
    instructions go around such texts.
    """
    world = replace(load_world("standard"), owners=_OWNERS, campaigns=(), volume_cap=_MOST_REQUESTS)
    traffic = simulate(world, seed=_SEED, split="fit")
    everybody = np.array(traffic.accounts["account_id"].to_pylist(), dtype=object)
    return tuple(sample_prompts(traffic.exchanges, everybody, _SEED))
