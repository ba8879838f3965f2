"""Epochs of twins and suspects with a stated preference."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdguard.detectors.twins.coins import bias, released
from kdguard.detectors.twins.planning import Candidate, Plan, account_key, plan_twins
from kdguard.ledger.keys import Generation
from tests.audit.made_case import fixed_keys


def candidates(accounts: int, sites: int, *, shared: bool) -> list[Candidate]:
    """Each account asks `sites` prompts; the same ones if shared."""
    rows = []
    for account in range(accounts):
        for site in range(sites):
            prompt = f"question {site}" if shared else f"question {site} of {account}"
            pair = (f"Plainly, answer number {site} is north.", f"I would say that {site} points south.")
            rows.append((f"r{account}-{site}", f"a{account}", prompt, *pair))
    return rows


def make_twins(
    directory: Path, accounts: int = 4, sites: int = 60, *, shared: bool = True, colluders: int = 1
) -> tuple[Plan, Generation]:
    keys = fixed_keys(directory / "keys").current
    return plan_twins(keys, "2026-12", candidates(accounts, sites, shared=shared), colluders), keys


def coins(plan: Plan, keys: Generation, account: str) -> dict[str, int]:
    """What an account was given, +1 for answer 1 and -1 for answer 0."""
    epoch_key = account_key(keys, "", plan.epoch).key.reveal()
    key = account_key(keys, account, plan.epoch).key.reveal()
    chances = {site: bias(epoch_key, site, plan.parameters["colluders"]) for site in plan.sites[account]}
    return {site: 2 * released(key, site, chance) - 1 for site, chance in chances.items()}


def learnt(
    plan: Plan, keys: Generation, account: str, effect: float, rng: np.random.Generator
) -> dict[str, float]:
    """Differences of likelihood of unit noise, moved by `effect` towards what the account was given."""
    return {site: effect * coin + rng.normal() for site, coin in coins(plan, keys, account).items()}
