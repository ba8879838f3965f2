"""One score a group: its pooled requests scored like one account's, and what only a group can show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.pooled import HalfOne, pooled_scores

if TYPE_CHECKING:
    from kdguard.scoring.baseline import Kind
    from kdguard.scoring.suite import Suite

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Scores of g groups.

    Attributes:
        score: Sum of what follows; NaN where the pooled requests are too few.
        pooled: Fused score of the pooled requests, in reference deviations, shape (g,).
        outputs: Raw detector outputs of the pooled requests, shape (g, k).
        contributions: Weighted standardised outputs, shape (g, k).
        measures: Raw group statistics, shape (g, s).
        terms: Their share of the score, shape (g, s).
        requests: Half-1 requests pooled, shape (g,).
        units: Owners, or accounts within one owner, with half-1 requests, shape (g,).
    """

    score: Floats
    pooled: Floats
    outputs: Floats
    contributions: Floats
    measures: Floats
    terms: Floats
    requests: Ints
    units: Ints


def score_groups(half: HalfOne, suite: Suite, kind: Kind) -> GroupScores:
    """Score groups on half 1.

    The pooled part is standardised like an account's with as many requests, among everybody: a group has no stratum
    of its own. Group statistics of suspicious kinds add to it and never take away.

    Args:
        half: Half-1 rows of the groups.
        suite: Detectors, group statistics and weights.
        kind: The reference kind that holds everybody.
    """
    trajectories = pooled_scores(half, suite.detectors)
    at = trajectories.subject.astype(np.int64)
    weights = suite.weight_vector
    outputs = np.full((half.groups, len(weights)), np.nan)
    contributions = np.zeros((half.groups, len(weights)))
    pooled = np.full(half.groups, np.nan)
    if len(at):
        outputs[at] = trajectories.scores
        contributions[at] = kind.scale.standardise(trajectories) * weights
        reached = trajectories.checkpoint
        fused = contributions[at].sum(axis=1)
        pooled[at] = (fused - kind.fused.centre[reached, 0]) / kind.fused.spread[reached, 0]
    units = half.units()
    measures = np.empty((half.groups, len(suite.statistics)))
    terms = np.empty_like(measures)
    for column, statistic in enumerate(suite.statistics):
        measures[:, column] = statistic.measure(half)
        scored = np.nan_to_num(statistic.score(measures[:, column], units), nan=0.0)
        terms[:, column] = statistic.weight * np.maximum(scored, 0.0)
    return GroupScores(
        pooled + terms.sum(axis=1), pooled, outputs, contributions, measures, terms, half.requests(), units
    )
