"""A small baseline and a small world with thieves, made once for all tests that need them."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

import pyarrow as pa

from kdguard.detectors import default_suite
from kdguard.scoring.baseline import Baseline, learn_baseline
from kdguard.simulate.campaign import Campaign
from kdguard.simulate.traffic import Simulated, simulate
from kdguard.simulate.world import load_world


@lru_cache(maxsize=1)
def honest_month() -> tuple[tuple[pa.RecordBatch, ...], pa.Table, frozenset[str]]:
    """Exchanges and accounts of teaching and calibration owners, and the ids of those who teach."""
    world = load_world("standard")
    teaching = simulate(replace(world, owners=200), seed=11, split="fit")
    calibration = simulate(replace(world, owners=420), seed=12, split="calibration")
    accounts = pa.concat_tables([teaching.accounts, calibration.accounts])
    teachers = frozenset(str(name) for name in teaching.accounts["account_id"].to_pylist())
    return teaching.exchanges + calibration.exchanges, accounts, teachers


@lru_cache(maxsize=1)
def small_baseline() -> Baseline:
    """A baseline of 620 simulated owners."""
    exchanges, accounts, teachers = honest_month()
    return learn_baseline(exchanges, default_suite(), accounts=accounts, teachers=teachers)


@lru_cache(maxsize=1)
def month_with_thieves() -> Simulated:
    """Another 150 owners, and two pure campaigns of 8 accounts."""
    campaigns = (
        Campaign("rubric_grade", "graders", accounts=8, requests=60),
        Campaign("cot_elicit", "reasoners", accounts=8, requests=60, language="en"),
    )
    world = replace(load_world("standard"), owners=150, campaigns=campaigns)
    return simulate(world, seed=13, split="test")
