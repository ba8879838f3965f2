"""A small epoch of canaries, and suspects that learnt from its accounts."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kdguard.detectors.canary.forms import FAMILIES
from kdguard.detectors.canary.gateway import account_filter
from kdguard.detectors.canary.planning import Budget, Plan, plan_epoch
from kdguard.ledger.keys import Generation
from tests.audit.made_case import fixed_keys

RESPONSE = (
    "Bread rises because yeast makes gas. For example, it doubles within an hour; however, cold slows it."
)


def make_plan(
    directory: Path,
    accounts: int = 5,
    families: tuple[str, ...] = FAMILIES,
    requests: int = 20_000,
    rewrite_share: float = 1.0,
) -> tuple[Plan, Generation]:
    keys = fixed_keys(directory / "keys").current
    budget = Budget(share=0.005, most=100, repetitions=5, rewrite_share=rewrite_share)
    expected = {f"a{number}": requests for number in range(accounts)}
    return plan_epoch(keys, "2026-12", expected, budget, families), keys


def suspect_answers(
    plan: Plan, keys: Generation, account: str, recall: float, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Answers to every cue: the account's reply where it is recalled, a stranger's reply elsewhere."""
    own, stranger = (account_filter(plan, keys, name) for name in (account, "a4"))
    answers = []
    for place, site in enumerate(own.sites):
        source = own if rng.random() < recall else stranger
        prompt = f"Tell me about {site.subject}."
        answers.append((site.site_id, site.mark(prompt, RESPONSE, source.replies[place]) or RESPONSE))
    return answers
