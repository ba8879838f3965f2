"""Undetected attackers in the month a baseline is learnt from, and what reviews of that month mend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from kdguard.scoring.baseline import Baseline
from kdguard.scoring.suite import Suite
from kdguard.simulate.evaluation.learning import joined, learn, score
from kdguard.simulate.evaluation.outcomes import outcome_rows
from kdguard.simulate.evaluation.plan import Plan
from kdguard.simulate.evaluation.sources import Scene, Source, Traffic, hidden


@dataclass(frozen=True)
class Review:
    """What a person who checks every new alarm of the baseline's own month finds.

    Attributes:
        looked_at: Accounts with p <= alpha when the month is scored against the baseline learnt from it, without
            those found before.
        thieves: Attackers among them; all are recognised and left out.
        missed: Attackers that stay in.
    """

    looked_at: int
    thieves: tuple[str, ...]
    missed: int


def contaminated_rows(
    plan: Plan, world: int, share: float, suite: Suite, source: Source, scene: Scene, campaigns: Traffic
) -> tuple[list[pd.DataFrame], tuple[Review, ...]]:
    """Outcomes against a baseline that holds a share of attackers, before and after each review of its month.

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
    month = joined(teaching, calibration)
    parts: list[pd.DataFrame] = []
    reviews: list[Review] = []
    while True:
        known = [thief for review in reviews for thief in review.thieves]
        baseline = learn(suite, teaching, calibration, plan, exclude=known)
        for part, traffic in (("contaminated", campaigns), ("benign_contaminated", scene.test)):
            scores = score(traffic, baseline, plan)
            setting = setting_of(share, len(reviews))
            parts.append(outcome_rows(scores, traffic, world=world, part=part, setting=setting))
        if len(reviews) == plan.reviews:
            return parts, tuple(reviews)
        reviews.append(_review(month, baseline, plan, set(known)))


def setting_of(share: float, reviews: int) -> str:
    """How rows name a share of attackers and the reviews that came before."""
    return f"{share} {reviews}" if reviews else str(share)


def told(setting: str) -> str:
    """The same in words."""
    share, _, reviews = setting.partition(" ")
    after = {"": "", "1": ", those found by one review left out"}
    return f"{float(share):.0%} attackers" + after.get(
        reviews, f", those found by {reviews} reviews left out"
    )


def _review(month: Traffic, baseline: Baseline, plan: Plan, known: set[str]) -> Review:
    own = score(month, baseline, plan)
    suspects = set(map(str, own.facts.account_id[np.nan_to_num(own.p_value, nan=1.0) <= plan.alpha])) - known
    guilty = set(map(str, month.labels.index[month.labels["campaign_id"].notna()])) - known
    thieves = tuple(sorted(suspects & guilty))
    return Review(len(suspects), thieves, len(guilty) - len(thieves))


def _with_thieves(
    plan: Plan, world: int, share: float, source: Source, scene: Scene, honest: Traffic, part: str
) -> Traffic:
    """Honest traffic and so many attackers, each an owner of its own, that they make up a share of all owners."""
    attackers = max(1, round(share * honest.labels["owner_id"].nunique() / (1 - share)))
    return joined(honest, source.campaigns(plan, world, scene, hidden(plan, attackers), part))
