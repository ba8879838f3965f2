"""Groups in words: verdicts on clusters, what follows for their members, and the graph that shows why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Evidence, Guarantee
from kdguard.scoring.facts import Facts
from kdguard.scoring.groups.attributes import KIND_WORDS, Attribute, in_words
from kdguard.scoring.groups.find import Groups, Reported
from kdguard.scoring.groups.reference import ENOUGH_GROUPS
from kdguard.verdict import Decision, GuaranteeState, Verdict

if TYPE_CHECKING:
    from kdguard.scoring.baseline import Baseline

_EVIDENCE = 6
_EXHIBITS = 8
_MOST_EDGES = 400
_SALT = 0x9E3779B97F4A7C15


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
    exhibits: Mapping[int, Sequence[Mapping[str, Any]]],
    ids: Sequence[str],
    alpha: float,
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
    """
    verdicts, plots, certain = [], [], set()
    clusters: dict[str, tuple[str, ...]] = {}
    for number, (group, shared) in enumerate(zip(groups.reported(), groups.attributes, strict=True), 1):
        name, at, pieces = f"c-{number}", group.pieces[0], list(group.pieces)
        place = np.searchsorted(facts.subject, group.members)
        members = tuple(str(who) for who in facts.account_id[place])
        permitted = bool(facts.permitted[place].all())
        sure = bool(groups.certain[pieces].all()) and state is GuaranteeState.ACTIVE and not permitted
        p_value = float(groups.ranks.p_value[pieces].max())
        decision = Decision.FLAG if sure and p_value <= alpha else Decision.REVIEW
        if sure:
            certain |= set(members)
        for who in members:
            clusters[who] = (*clusters.get(who, ()), name)
        verdicts.append(
            Verdict(
                kind="cluster",
                id=name,
                members=members,
                decision=decision,
                p_value=p_value,
                p_pooled=float(groups.ranks.p_pooled[pieces].max()),
                p_floor=float(groups.ranks.p_floor[pieces].min()),
                score=round(float(groups.scores.score[at]), 6),
                requests=int(requests[place].sum()),
                stratum=_class_words(groups, at),
                calibration_size=int(groups.ranks.references[at]),
                guarantee_state=state,
                permitted=permitted,
                evidence=_evidence(groups, group, shared, name, baseline, exhibits),
                techniques=tuple(ids),
                baseline_digest=baseline.digest,
            )
        )
        plots.append(_graph(groups, group, shared, name, facts, requests))
    summary = {
        "groups_tested": int(np.sum(~np.isnan(groups.scores.score))),
        "groups_reported": len(verdicts),
        "group_references": len(baseline.groups.score) if baseline.groups else 0,
        "group_references_needed": ENOUGH_GROUPS,
    }
    return GroupVerdicts(tuple(verdicts), clusters, frozenset(certain), tuple(plots), summary)


def with_decisions(graphs: Sequence[Mapping[str, Any]], decisions: Mapping[str, str]) -> list[dict[str, Any]]:
    """Add each account's decision to the nodes of cluster graphs."""
    return [
        {**graph, "nodes": [{**node, "decision": decisions[node["id"]]} for node in graph["nodes"]]}
        for graph in graphs
    ]


def _class_words(groups: Groups, at: int) -> str:
    return "groups across owners" if groups.candidates.across[at] else "owners with several accounts"


def _evidence(
    groups: Groups,
    group: Reported,
    shared: Sequence[Attribute],
    name: str,
    baseline: Baseline,
    exhibits: Mapping[int, Sequence[Mapping[str, Any]]],
) -> tuple[Evidence, ...]:
    suite, scores, at = baseline.suite, groups.scores, group.pieces[0]
    requests = int(scores.requests[at])

    def say(
        detector: str, version: str, guarantee: Guarantee, score: float, share: float, words: str, **more: Any
    ) -> Evidence:
        return Evidence(
            detector=detector,
            version=version,
            subject=name,
            guarantee=guarantee,
            score=round(score, 6),
            n=requests,
            contribution=round(share, 6),
            summary=words,
            parameters_digest=baseline.digest,
            **more,
        )

    found = [
        say(
            f"coordination.{item.name}",
            item.version,
            item.guarantee,
            float(value),
            float(term),
            item.explain(float(value)),
        )
        for item, value, term in zip(suite.statistics, scores.measures[at], scores.terms[at], strict=True)
        if term > 0.05
    ]
    strongest = _strongest(group, exhibits)
    columns = [(detector, output) for detector in suite.detectors for output in detector.outputs]
    shares = _scaled(scores.contributions[at], float(scores.pooled[at]))
    for column in np.argsort(-shares)[:3]:
        raw, (detector, output) = float(scores.outputs[at, column]), columns[column]
        if shares[column] > 0.05 and np.isfinite(raw):
            words = f"taken together, {detector.explain(output, raw)}"
            found.append(
                say(
                    f"{detector.name}.{output}",
                    detector.version,
                    Guarantee.DESCRIPTIVE,
                    raw,
                    float(shares[column]),
                    words,
                )
            )
    found.sort(key=lambda item: -item.contribution)
    clauses = in_words(shared)
    tied = (
        "; ".join(clauses)
        or f"{len(group.members)} accounts share no rare attribute; their requests tie them"
    )
    if len(group.pieces) > 1:
        tied += (
            f"; put together from {len(group.pieces)} groups that ask alike, figures are those of the first"
        )
    ranked = int(groups.ranks.references[at])
    rank = say(
        "coordination.rank",
        "1",
        Guarantee.CONFORMAL if ranked >= ENOUGH_GROUPS else Guarantee.DESCRIPTIVE,
        float(scores.score[at]),
        0.0,
        f"{tied}. Formed on half of the sessions, scored on {requests} requests of the other half, "
        f"ranked among {ranked} groups of honest owners"
        + ("" if ranked >= ENOUGH_GROUPS else f" (fewer than {ENOUGH_GROUPS}: a review at most)"),
        p_value=float(groups.ranks.p_value[at]),
        p_floor=float(groups.ranks.p_floor[at]),
        exhibits=strongest,
    )
    return (rank, *found[:_EVIDENCE])


def _scaled(contributions: npt.NDArray[np.float64], pooled: float) -> npt.NDArray[np.float64]:
    """Shares of the pooled part of the group's score."""
    total = float(contributions.sum())
    if not np.isfinite(pooled) or pooled <= 0 or total <= 0:
        return np.zeros(len(contributions))
    return contributions / total * pooled


def _strongest(group: Reported, exhibits: Mapping[int, Sequence[Mapping[str, Any]]]) -> tuple[str, ...]:
    """Strongest requests of different accounts."""
    best = [
        (-int(shown[0]["margin"]), str(shown[0]["request_id"]))
        for who in group.members.tolist()
        if (shown := exhibits.get(who))
    ]
    return tuple(request for _, request in sorted(best)[:_EXHIBITS])


def _graph(
    groups: Groups,
    group: Reported,
    shared: Sequence[Attribute],
    name: str,
    facts: Facts,
    requests: npt.NDArray[np.int64],
) -> Mapping[str, Any]:
    members = group.members
    place = np.searchsorted(facts.subject, members)
    attributes = [
        {
            "kind": KIND_WORDS[item.kind][0],
            "hash": f"{(item.code ^ _SALT) * _SALT % 2**64:016x}",
            "weight": round(item.bits, 2),
            "members": np.searchsorted(members, item.subjects).tolist(),
        }
        for item in shared
    ]
    return {
        "id": name,
        "nodes": [{"id": str(facts.account_id[p]), "requests": int(requests[p])} for p in place],
        "attributes": attributes,
        "edges": _edges(groups, members),
    }


def _edges(groups: Groups, members: npt.NDArray[np.uint64]) -> list[dict[str, Any]]:
    """Ties that are no shared value, between one account of either owner; heaviest first."""
    habits, graph = groups.habits, groups.candidates.graph
    first_of: dict[int, int] = {}
    for row, node in enumerate(habits.node[np.searchsorted(habits.subject, members)].tolist()):
        first_of.setdefault(node, row)
    edges: list[dict[str, Any]] = []
    for source, target, weights in zip(
        graph.pairs.source.tolist(), graph.pairs.target.tolist(), graph.by_tie, strict=True
    ):
        if source in first_of and target in first_of:
            for kind, column in groups.pair_ties:
                if weights[column] > 0:
                    weight = round(float(weights[column]), 2)
                    edges.append(
                        {
                            "source": first_of[source],
                            "target": first_of[target],
                            "kind": kind,
                            "weight": weight,
                        }
                    )
    return sorted(edges, key=lambda edge: -edge["weight"])[:_MOST_EDGES]
