"""One score a group: its pooled requests scored like one account's, and what only a group can show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from kdguard.scoring.groups.pooled import HalfOne, pooled_scores
from kdguard.scoring.standardise import contributions as share_out
from kdguard.scoring.standardise import fuse

if TYPE_CHECKING:
    from kdguard.scoring.baseline import Kind
    from kdguard.scoring.suite import Suite

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


POOLED_WORTH = 2.0
"""Group score of a factor of ten in the pooled bet; a doubling of the owners alike counts one."""
POOLED_MOST = 4.0
"""Beyond 100 to 1, more of the same says little."""
SUPPORT = 3.0
"""A shared card or address counts at most three times what the requests themselves show."""
_ONE_ACCOUNT_ONLY = ("tempo.", "events.", "coverage.", "drift.from_own_past")


def poolable(outputs: Sequence[str]) -> Floats:
    """1 for outputs that mean the same for many accounts as for one, else 0, shape (k,).

    Clocks and reactions of different accounts mean nothing together, and counts of distinct things grow with the
    number of accounts; rates of wording, frames and options do not.
    """
    return np.array([not name.startswith(_ONE_ACCOUNT_ONLY) for name in outputs], np.float64)


@dataclass(frozen=True, slots=True)
class GroupScores:
    """Scores of g groups.

    Attributes:
        score: Sum of `pooled` and `terms`; NaN where the pooled requests are too few.
        pooled: Fused score of the pooled requests, twice the log10 of the mean bet, bounded, shape (g,).
        outputs: Raw detector outputs of the pooled requests, shape (g, k).
        contributions: Each detector output's share of `pooled`, shape (g, k).
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


def bounded(
    pooled: Floats, terms: Floats, supporting: npt.NDArray[np.bool_], across: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Let nothing but likeness between owners carry a group.

    The pooled requests count as far as owners are alike, never below nothing and never beyond `POOLED_MOST`: one honest
    look-alike with much traffic among strangers shows no coordination, and ordinary prompts are no excuse for a hundred
    owners who all send the same. Shared cards and addresses count `SUPPORT` times the likeness at most.

    Args:
        pooled: Score of the pooled requests, shape (g,); NaN where they are too few.
        terms: Group statistics, shape (g, s).
        supporting: Which of them only support, shape (s,).
        across: Which groups span owners, shape (g,).
    """
    likeness = terms[:, ~supporting].sum(axis=1)
    limit = (SUPPORT * likeness * across)[:, None]
    held = np.where(supporting, np.minimum(terms, limit), terms)
    return np.clip(pooled, 0.0, np.minimum(likeness, POOLED_MOST)), held


def score_groups(half: HalfOne, across: npt.NDArray[np.bool_], suite: Suite, kind: Kind) -> GroupScores:
    """Score groups on half 1.

    The pooled requests are compared with everybody's accounts of as many requests: a group has no stratum of its own.
    Group statistics add to that, within bounds (`bounded`), and nothing takes away.

    Args:
        half: Half-1 rows of the groups.
        across: Which groups span owners: within one owner, a shared card or address says nothing.
        suite: Detectors, group statistics and weights.
        kind: The reference kind that holds everybody.
    """
    trajectories = pooled_scores(half, suite.detectors)
    at = trajectories.subject.astype(np.int64)
    weights = suite.weight_vector * poolable(suite.outputs)
    outputs = np.full((half.groups, len(weights)), np.nan)
    contributions = np.zeros((half.groups, len(weights)))
    pooled = np.full(half.groups, np.nan)
    if len(at):
        outputs[at] = trajectories.scores
        rarity = kind.scale.rarity(trajectories)
        pooled[at] = POOLED_WORTH * fuse(rarity, weights)
        contributions[at] = POOLED_WORTH * share_out(rarity, weights)
    units = half.units()
    measures = np.empty((half.groups, len(suite.statistics)))
    terms = np.empty_like(measures)
    for column, statistic in enumerate(suite.statistics):
        measures[:, column] = statistic.measure(half)
        scored = np.nan_to_num(statistic.score(measures[:, column], units), nan=0.0)
        terms[:, column] = statistic.weight * np.maximum(scored, 0.0)
    supporting = np.array([statistic.supporting for statistic in suite.statistics], np.bool_)
    pooled, terms = bounded(pooled, terms, supporting, across)
    return GroupScores(
        pooled + terms.sum(axis=1), pooled, outputs, contributions, measures, terms, half.requests(), units
    )
