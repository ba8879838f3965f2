"""Learning a baseline from traffic, and scoring traffic against it, as every part of an evaluation does."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

import pandas as pd
import pyarrow as pa

from kdguard.scoring.baseline import Baseline, learn_baseline
from kdguard.scoring.score import AccountScores, fold_log, score_accounts
from kdguard.scoring.spill import Spill
from kdguard.scoring.suite import Suite
from kdguard.simulate.evaluation.plan import Plan
from kdguard.simulate.evaluation.sources import Traffic


def learn(
    suite: Suite, teaching: Traffic, calibration: Traffic, plan: Plan, *, exclude: Collection[str] = ()
) -> Baseline:
    """Learn a baseline whose teaching and calibration accounts are given.

    Args:
        suite: Untaught detectors.
        teaching: Accounts that teach the classifier and the scales.
        calibration: Accounts that others are ranked among.
        plan: Its seed splits the teaching accounts.
        exclude: Account ids to leave out.
    """
    both = joined(teaching, calibration)
    return learn_baseline(
        both.exchanges,
        suite,
        accounts=both.accounts,
        teachers=set(teaching.labels.index),
        exclude=exclude,
        seed=plan.seed,
        workers=1,
    )


def score(traffic: Traffic, baseline: Baseline, plan: Plan) -> AccountScores:
    """Score traffic against a baseline."""
    with Spill() as spill:
        profiles, _ = fold_log(traffic.exchanges, baseline, spill)
        return score_accounts(profiles, baseline, accounts=traffic.accounts, alpha=plan.alpha)


def joined(left: Traffic, right: Traffic) -> Traffic:
    """Both in one; an accounts table that the two share is kept once."""
    accounts = left.accounts
    if left.accounts is not None and right.accounts is not None and left.accounts is not right.accounts:
        accounts = pa.concat_tables([left.accounts, right.accounts])
    return Traffic(Chain((left, right)), accounts, pd.concat([left.labels, right.labels]))


@dataclass(frozen=True)
class Chain:
    """Traffic after traffic, as often as it is asked for."""

    parts: tuple[Traffic, ...]

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        for part in self.parts:
            yield from part.exchanges
