"""What a group's verdict rests on, in words: its rank, what only a group can show, and its requests taken together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Evidence, Guarantee
from kdguard.scoring.groups.attributes import Attribute, in_words
from kdguard.scoring.groups.find import Groups, Reported
from kdguard.scoring.groups.reference import ENOUGH_GROUPS
from kdguard.scoring.groups.score import GroupScores

if TYPE_CHECKING:
    from kdguard.scoring.baseline import Baseline
    from kdguard.scoring.suite import Suite

Floats = npt.NDArray[np.float64]
Exhibits = Mapping[int, Sequence[Mapping[str, Any]]]
"""Strongest requests by account hash."""

_EVIDENCE = 6
_EXHIBITS = 8
_DETECTORS = 3
_LEAST_SHARE = 0.05


def explain(
    groups: Groups,
    group: Reported,
    shared: Sequence[Attribute],
    name: str,
    baseline: Baseline,
    exhibits: Exhibits,
) -> tuple[Evidence, ...]:
    """Give the rank of a group first, then what contributed most to its score.

    Args:
        groups: Groups that were looked at.
        group: The one to explain.
        shared: What its members share.
        name: Its id.
        baseline: What it was ranked among.
        exhibits: Requests to open.
    """
    at, scores = group.pieces[0], groups.scores
    say: Callable[..., Evidence] = partial(
        Evidence, subject=name, n=int(scores.requests[at]), parameters_digest=baseline.digest
    )
    parts = [*_statistics(baseline.suite, scores, at, say), *_pooled(baseline.suite, scores, at, say)]
    parts.sort(key=lambda item: -item.contribution)
    return (_rank(groups, group, shared, exhibits, say), *parts[:_EVIDENCE])


def _statistics(
    suite: Suite, scores: GroupScores, at: int, say: Callable[..., Evidence]
) -> Iterator[Evidence]:
    """What only a group can show."""
    for item, value, term in zip(suite.statistics, scores.measures[at], scores.terms[at], strict=True):
        if term > _LEAST_SHARE:
            yield say(
                detector=f"coordination.{item.name}",
                version=item.version,
                guarantee=item.guarantee,
                score=round(float(value), 6),
                contribution=round(float(term), 6),
                summary=item.explain(float(value)),
            )


def _pooled(suite: Suite, scores: GroupScores, at: int, say: Callable[..., Evidence]) -> Iterator[Evidence]:
    """What the requests show, scored as if one account had sent them."""
    columns = [(detector, output) for detector in suite.detectors for output in detector.outputs]
    shares = _scaled(scores.contributions[at], float(scores.pooled[at]))
    for column in np.argsort(-shares)[:_DETECTORS]:
        raw, (detector, output) = float(scores.outputs[at, column]), columns[column]
        if shares[column] > _LEAST_SHARE and np.isfinite(raw):
            yield say(
                detector=f"{detector.name}.{output}",
                version=detector.version,
                guarantee=Guarantee.DESCRIPTIVE,
                score=round(raw, 6),
                contribution=round(float(shares[column]), 6),
                summary=f"taken together, {detector.explain(output, raw)}",
            )


def _rank(
    groups: Groups,
    group: Reported,
    shared: Sequence[Attribute],
    exhibits: Exhibits,
    say: Callable[..., Evidence],
) -> Evidence:
    at = group.pieces[0]
    ranked = int(groups.ranks.references[at])
    enough = ranked >= ENOUGH_GROUPS
    return say(
        detector="coordination.rank",
        version="1",
        guarantee=Guarantee.CONFORMAL if enough else Guarantee.DESCRIPTIVE,
        score=round(float(groups.scores.score[at]), 6),
        contribution=0.0,
        summary=f"{_tied(group, shared)}. Formed on half of the sessions, scored on "
        f"{int(groups.scores.requests[at])} requests of the other half, ranked among {ranked} groups of honest owners"
        + ("" if enough else f" (fewer than {ENOUGH_GROUPS}: a review at most)"),
        p_value=float(groups.ranks.p_value[at]),
        p_floor=float(groups.ranks.p_floor[at]),
        exhibits=_strongest(group, exhibits),
    )


def _tied(group: Reported, shared: Sequence[Attribute]) -> str:
    alone = f"{len(group.members)} accounts share no rare attribute; their requests tie them"
    tied = "; ".join(in_words(shared)) or alone
    if len(group.pieces) == 1:
        return tied
    return (
        f"{tied}; put together from {len(group.pieces)} groups that ask alike, figures are those of the first"
    )


def _scaled(contributions: Floats, pooled: float) -> Floats:
    """Shares of the pooled part of the group's score."""
    total = float(contributions.sum())
    if not np.isfinite(pooled) or pooled <= 0 or total <= 0:
        return np.zeros(len(contributions))
    return contributions / total * pooled


def _strongest(group: Reported, exhibits: Exhibits) -> tuple[str, ...]:
    """Strongest requests of different accounts."""
    best = [
        (-int(shown[0]["margin"]), str(shown[0]["request_id"]))
        for who in group.members.tolist()
        if (shown := exhibits.get(who))
    ]
    return tuple(request for _, request in sorted(best)[:_EXHIBITS])
