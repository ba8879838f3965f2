"""From groups to verdicts: what is decided about each, and what follows for its members."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdguard.scoring.facts import Facts
from kdguard.scoring.groups.drawing import draw
from kdguard.scoring.groups.explain import Exhibits, explain
from kdguard.scoring.groups.find import Groups, Reported
from kdguard.scoring.groups.names import Naming, founding_names
from kdguard.scoring.groups.reference import ENOUGH_GROUPS
from kdguard.verdict import Decision, GuaranteeState, Verdict

if TYPE_CHECKING:
    from kdguard.scoring.baseline import Baseline

ACROSS_OWNERS, WITHIN_OWNERS = "groups across owners", "owners with several accounts"


@dataclass(frozen=True)
class GroupVerdicts:
    """What is concluded about groups.

    Attributes:
        verdicts: One a reported group, most surprising first.
        clusters: Ids of the clusters of each account, by account id.
        certain: Accounts in a cluster selected with a guarantee; their own p-value may then lead to a flag.
        plots: `kdguard.report.plots.ClusterGraph` of each.
        summary: What the closing line says of groups.
    """

    verdicts: tuple[Verdict, ...] = ()
    clusters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    certain: frozenset[str] = frozenset()
    plots: tuple[Mapping[str, Any], ...] = ()
    summary: Mapping[str, Any] = field(default_factory=dict)


def conclude_groups(
    groups: Groups,
    facts: Facts,
    requests: npt.NDArray[np.int64],
    baseline: Baseline,
    state: GuaranteeState,
    exhibits: Exhibits,
    ids: Sequence[str],
    alpha: float,
    names: Naming = founding_names,
) -> GroupVerdicts:
    """Decide on reported groups.

    Args:
        groups: Groups that were looked at.
        facts: Facts of the log's accounts.
        requests: Exchanges of each account, aligned with `facts`.
        baseline: What groups were ranked among.
        state: Whether the guarantee holds.
        exhibits: Strongest requests by account hash.
        ids: MITRE ATLAS and OWASP ids.
        alpha: Level of a flag.
        names: What they are called.
    """
    reported = groups.reported()
    named = names([_ids(facts, group) for group in reported])
    verdicts, plots, certain = [], [], set()
    clusters: dict[str, tuple[str, ...]] = {}
    for name, group, shared in zip(named, reported, groups.attributes, strict=True):
        evidence = explain(groups, group, shared, name, baseline, exhibits)
        told = {"evidence": evidence, "techniques": tuple(ids), "baseline_digest": baseline.digest}
        verdict, sure = _decide(groups, group, name, facts, requests, state, alpha, told)
        verdicts.append(verdict)
        plots.append(draw(groups, group.members, shared, name, facts, requests))
        certain |= set(verdict.members) if sure else set()
        clusters |= {who: (*clusters.get(who, ()), name) for who in verdict.members}
    summary = {
        "groups_tested": int(np.sum(~np.isnan(groups.scores.score))),
        "groups_reported": len(verdicts),
        "group_references": len(baseline.groups.score) if baseline.groups else 0,
        "group_references_needed": ENOUGH_GROUPS,
    }
    return GroupVerdicts(tuple(verdicts), clusters, frozenset(certain), tuple(plots), summary)


def _decide(
    groups: Groups,
    group: Reported,
    name: str,
    facts: Facts,
    requests: npt.NDArray[np.int64],
    state: GuaranteeState,
    alpha: float,
    told: Mapping[str, Any],
) -> tuple[Verdict, bool]:
    """The verdict on one group, and whether it was selected with a guarantee: every piece of it must have been."""
    at, pieces, ranks = group.pieces[0], list(group.pieces), groups.ranks
    place = np.searchsorted(facts.subject, group.members)
    permitted = bool(facts.permitted[place].all())
    sure = bool(groups.certain[pieces].all()) and state is GuaranteeState.ACTIVE and not permitted
    p_value = float(ranks.p_value[pieces].max())
    verdict = Verdict(
        kind="cluster",
        id=name,
        members=_ids(facts, group),
        decision=Decision.FLAG if sure and p_value <= alpha else Decision.REVIEW,
        p_value=p_value,
        p_pooled=float(ranks.p_pooled[pieces].max()),
        p_floor=float(ranks.p_floor[pieces].min()),
        score=round(float(groups.scores.score[at]), 6),
        requests=int(requests[place].sum()),
        stratum=ACROSS_OWNERS if groups.candidates.across[at] else WITHIN_OWNERS,
        calibration_size=int(ranks.references[at]),
        guarantee_state=state,
        permitted=permitted,
        **told,
    )
    return verdict, sure


def _ids(facts: Facts, group: Reported) -> tuple[str, ...]:
    return tuple(str(who) for who in facts.account_id[np.searchsorted(facts.subject, group.members)])
