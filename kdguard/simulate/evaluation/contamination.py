"""Undetected attackers in the month a baseline is learnt from, and what one review of that month mends."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kdguard.scoring.suite import Suite
from kdguard.simulate.evaluation.learning import joined, learn, score
from kdguard.simulate.evaluation.outcomes import outcome_rows
from kdguard.simulate.evaluation.plan import Plan
from kdguard.simulate.evaluation.sources import Scene, Source, Traffic, hidden

REVIEWED = "reviewed"


@dataclass(frozen=True)
class Review:
    """What a person who checks every alarm of the baseline's own month finds.

    Attributes:
        looked_at: Accounts with p <= alpha when the month is scored against the baseline learnt from it.
        thieves: Attackers among them; all are recognised and left out.
        missed: Attackers that stay in.
    """

    looked_at: int
    thieves: tuple[str, ...]
    missed: int


def contaminated_rows(
    plan: Plan, world: int, share: float, suite: Suite, source: Source, scene: Scene, campaigns: Traffic
) -> tuple[list[pd.DataFrame], Review]:
    """Outcomes against a baseline that holds a share of attackers, before and after one review of its month.

    Args:
        plan: What to do.
        world: Number of the world.
        share: Attackers among the baseline's owners.
        suite: Untaught detectors.
        source: Where traffic comes from.
        scene: Benign traffic of the world.
        campaigns: Attack accounts to be found.
    """
    teaching = _with_thieves(plan, world, share, source, scene, scene.teaching, "hidden-teaching")
    calibration = _with_thieves(plan, world, share, source, scene, scene.calibration, "hidden-calibration")
    baseline = learn(suite, teaching, calibration, plan)
    month = joined(teaching, calibration)
    own = score(month, baseline, plan)
    suspects = own.facts.account_id[np.nan_to_num(own.p_value, nan=1.0) <= plan.alpha]
    guilty = month.labels.index[month.labels["campaign_id"].notna()]
    thieves = tuple(sorted(set(map(str, suspects)) & set(map(str, guilty))))
    review = Review(len(suspects), thieves, len(guilty) - len(thieves))
    mended = learn(suite, teaching, calibration, plan, exclude=thieves)
    parts = []
    for name, known in ((str(share), baseline), (f"{share} {REVIEWED}", mended)):
        for part, traffic in (("contaminated", campaigns), ("benign_contaminated", scene.test)):
            scores = score(traffic, known, plan)
            parts.append(outcome_rows(scores, traffic, world=world, part=part, setting=name))
    return parts, review


def _with_thieves(
    plan: Plan, world: int, share: float, source: Source, scene: Scene, honest: Traffic, part: str
) -> Traffic:
    """Honest traffic and so many attackers, each an owner of its own, that they make up a share of all owners."""
    attackers = max(1, round(share * honest.labels["owner_id"].nunique() / (1 - share)))
    return joined(honest, source.campaigns(plan, world, scene, hidden(plan, attackers), part))
