"""From scores to verdicts: who is flagged, who is reviewed, and what a person is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from kdguard.evidence import Evidence, Guarantee
from kdguard.features.signals import NO_TIME
from kdguard.scan import CHECKPOINTS
from kdguard.scoring.baseline import POOLED, Baseline
from kdguard.scoring.groups.drawing import with_decisions
from kdguard.scoring.groups.find import find_groups
from kdguard.scoring.groups.names import Naming, founding_names
from kdguard.scoring.groups.verdicts import GroupVerdicts, conclude_groups
from kdguard.scoring.pipeline import Tally
from kdguard.scoring.score import AccountScores
from kdguard.scoring.spill import Signals
from kdguard.stats.conformal import references_needed
from kdguard.verdict import (
    Alarm,
    Decision,
    Findings,
    GuaranteeState,
    Verdict,
    Verdicts,
    fewest_selected,
    select_owners,
)

EXTRACTION_IDS = ("AML.T0024.002", "AML.T0005.001", "AML.T0040", "LLM10:2025")
CLUSTER_IDS = (*EXTRACTION_IDS, "AML.T0008.005", "AML.T0021")
_MOST_EXPLAINED = 2_000
_EXHIBITS = 5
_EVIDENCE = 5


@dataclass(frozen=True, slots=True)
class Policy:
    """What the user asked for.

    Attributes:
        alpha: Chance of a review for one honest account.
        fdr: False discovery rate among flagged owners.
    """

    alpha: float = 0.01
    fdr: float = 0.1


def conclude(
    scores: AccountScores,
    baseline: Baseline,
    spill: Signals,
    tally: Tally,
    policy: Policy,
    groups: GroupVerdicts | None = None,
) -> Findings:
    """Decide on every account and explain those that need attention.

    Args:
        scores: Scored accounts.
        baseline: What they were ranked among.
        spill: The log's signals, for exhibits and time lines.
        tally: What was read.
        policy: Levels asked for.
        groups: Groups of this log where they were looked for already, by `look_for_groups`; None = look now.
    """
    state = guarantee_state(scores, baseline)
    facts = scores.facts
    selected = select_owners(scores.p_pooled.tolist(), facts.owner, policy.fdr)
    groups = groups or look_for_groups(scores, baseline, spill, policy)
    decisions = [
        at_least_review(
            decide(float(p), bool(chosen) or name in groups.certain, bool(permitted), state, policy.alpha),
            bool(groups.clusters.get(name)),
        )
        for p, chosen, permitted, name in zip(
            scores.p_value, selected, facts.permitted, facts.account_id, strict=True
        )
    ]
    order = np.lexsort(
        (_alphabetical(facts.account_id), np.nan_to_num(scores.p_pooled, nan=2.0), _first_key(scores))
    )
    attention = [at for at in order.tolist() if decisions[at] in (Decision.FLAG, Decision.REVIEW)][
        :_MOST_EXPLAINED
    ]
    exhibits = _exhibits(spill, facts.subject[attention].tolist())

    def verdict(place: int) -> Verdict:
        at = int(order[place])
        clusters = groups.clusters.get(str(facts.account_id[at]), ())
        return _verdict(at, decisions[at], clusters, scores, baseline, state, exhibits)

    drawn = {node["id"] for graph in groups.plots for node in graph["nodes"]}
    graphs = with_decisions(
        groups.plots,
        {
            str(name): decision.value
            for name, decision in zip(facts.account_id, decisions, strict=True)
            if name in drawn
        },
    )
    return Findings(
        verdicts=Verdicts(groups.verdicts, len(order), verdict),
        summary=_summary(decisions, scores, baseline, tally, policy, state) | dict(groups.summary),
        plots={"cluster_graph": graphs} if graphs else {},
    )


def look_for_groups(
    scores: AccountScores,
    baseline: Baseline,
    spill: Signals,
    policy: Policy,
    names: Naming = founding_names,
) -> GroupVerdicts:
    """Look for groups, where the baseline knows what honest ones look like; `names` says what they are called."""
    if baseline.groups is None:
        return GroupVerdicts(summary={"groups_tested": None})
    spill.seal()
    kind = baseline.kinds[POOLED]
    found = find_groups([spill.folder], scores.facts, baseline.suite, kind, baseline.groups, fdr=policy.fdr)
    members = [group.members for group in found.reported()]
    exhibits = _exhibits(spill, np.unique(np.concatenate(members)).tolist() if members else [])
    requests = scores.profiles.requests
    state = guarantee_state(scores, baseline)
    return conclude_groups(
        found, scores.facts, requests, baseline, state, exhibits, CLUSTER_IDS, policy.alpha, names
    )


def guarantee_state(scores: AccountScores, baseline: Baseline) -> GuaranteeState:
    """Whether the false-alarm bound holds for this run."""
    if baseline.shipped:
        return GuaranteeState.UNCALIBRATED
    return GuaranteeState.SUSPENDED if scores.suspended else GuaranteeState.ACTIVE


def decide(p_value: float, selected: bool, permitted: bool, state: GuaranteeState, alpha: float) -> Decision:
    """Apply the rule of DESIGN section 6 to one account."""
    if np.isnan(p_value):
        return Decision.ABSTAIN
    if p_value > alpha:
        return Decision.CLEAR
    if selected and not permitted and state is GuaranteeState.ACTIVE:
        return Decision.FLAG
    return Decision.REVIEW


def at_least_review(decision: Decision, in_cluster: bool) -> Decision:
    """Raise a member of a selected cluster to a review, even one with too few requests for a p-value of its own."""
    return Decision.REVIEW if in_cluster and decision in (Decision.CLEAR, Decision.ABSTAIN) else decision


def _alphabetical(names: npt.NDArray[np.object_]) -> npt.NDArray[np.int64]:
    """Rank of each of m distinct names by its characters' codes, shape (m,)."""
    rank = np.empty(len(names), np.int64)
    rank[pc.sort_indices(pa.array(names, pa.large_string())).to_numpy()] = np.arange(len(names))
    return rank


def _first_key(scores: AccountScores) -> npt.NDArray[np.float64]:
    return np.nan_to_num(scores.p_value, nan=2.0)


def _exhibits(spill: Signals, subjects: list[int]) -> Mapping[int, Sequence[Mapping[str, Any]]]:
    found: dict[int, list[Mapping[str, Any]]] = {}
    if subjects:
        for row in spill.exhibits(subjects, _EXHIBITS).to_pylist():
            found.setdefault(row["subject"], []).append(row)
    return found


def _verdict(
    at: int,
    decision: Decision,
    clusters: tuple[str, ...],
    scores: AccountScores,
    baseline: Baseline,
    state: GuaranteeState,
    exhibits: Mapping[int, Sequence[Mapping[str, Any]]],
) -> Verdict:
    facts = scores.facts
    abstained = bool(np.isnan(scores.p_value[at]))
    needs_attention = decision in (Decision.FLAG, Decision.REVIEW)
    return Verdict(
        kind="account",
        id=str(facts.account_id[at]),
        decision=decision,
        p_value=None if abstained else float(scores.p_value[at]),
        p_pooled=None if abstained else float(scores.p_pooled[at]),
        p_floor=None if abstained else float(scores.p_floor[at]),
        score=None if abstained else round(float(scores.score[at]), 6),
        requests=int(scores.profiles.requests[at]),
        first_alarm=_alarm(at, scores),
        stratum=str(facts.stratum[at]) if not scores.kind[at] else f"{facts.stratum[at]}|{scores.kind[at]}",
        calibration_size=int(scores.calibration_size[at]),
        guarantee_state=state,
        permitted=bool(facts.permitted[at]),
        abstain_reason=_abstain_reason(at, scores) if abstained else None,
        clusters=clusters,
        evidence=_evidence(at, scores, baseline, exhibits) if needs_attention else (),
        techniques=EXTRACTION_IDS if needs_attention else (),
        baseline_digest=baseline.digest,
    )


def _alarm(at: int, scores: AccountScores) -> Alarm | None:
    row = int(scores.first_alarm[at])
    if row < 0:
        return None
    rows = scores.profiles.trajectories
    return Alarm(request=CHECKPOINTS[int(rows.checkpoint[row])], time=_rfc3339(int(rows.time_us[row])))


def _rfc3339(time_us: int) -> str | None:
    if time_us == NO_TIME:
        return None
    return (
        datetime.fromtimestamp(time_us / 1e6, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


def _abstain_reason(at: int, scores: AccountScores) -> str:
    return f"{int(scores.profiles.requests[at])} requests; a score needs {CHECKPOINTS[0]}"


def _evidence(
    at: int, scores: AccountScores, baseline: Baseline, exhibits: Mapping[int, Sequence[Mapping[str, Any]]]
) -> tuple[Evidence, ...]:
    shown = exhibits.get(int(scores.facts.subject[at]), ())
    requests = tuple(str(row["request_id"]) for row in shown)
    technique = _technique(shown, baseline)
    row = int(scores.shown[at])
    if row < 0:
        return ()
    contributions = scores.contributions[row]
    by_output = {
        f"{detector.name}.{output}": (detector, output)
        for detector in baseline.suite.detectors
        for output in detector.outputs
    }
    names = baseline.suite.outputs
    evidence = []
    for column in np.argsort(-contributions)[:_EVIDENCE]:
        if contributions[column] <= 0:
            break
        detector, output = by_output[names[column]]
        raw = float(scores.outputs[row, column])
        if not np.isfinite(raw):  # an e-value that could not tell bets one to one; that is no evidence
            continue
        wording = "technique" in names[column] or "mixture" in names[column]
        summary = detector.explain(output, raw)
        evidence.append(
            Evidence(
                detector=names[column],
                version=detector.version,
                subject=str(scores.facts.account_id[at]),
                guarantee=Guarantee.CONFORMAL,
                score=round(raw, 6),
                n=int(scores.profiles.requests[at]),
                contribution=round(float(contributions[column]), 6),
                summary=f"{summary}; likeliest technique: {technique}" if wording and technique else summary,
                exhibits=requests if wording else (),
                parameters_digest=baseline.digest,
            )
        )
    return tuple(evidence)


def _technique(shown: Sequence[Mapping[str, Any]], baseline: Baseline) -> str:
    """Name the technique that most exhibits share."""
    strong = [int(row["technique"]) for row in shown if int(row["margin"]) > 0]
    if not strong:
        return ""
    return baseline.suite.technique.techniques[max(set(strong), key=strong.count)].replace("_", " ")


def _summary(
    decisions: Sequence[Decision],
    scores: AccountScores,
    baseline: Baseline,
    tally: Tally,
    policy: Policy,
    state: GuaranteeState,
) -> dict[str, Any]:
    ranked = int(np.sum(~np.isnan(scores.p_value)))
    owners = len(np.unique(scores.facts.owner))
    floor = float(np.nanmin(scores.p_floor)) if ranked else None
    return {
        "accounts": len(decisions),
        "owners": owners,
        "exchanges": tally.exchanges,
        "unattributed_exchanges": tally.unattributed,
        "period": _period(scores),
        "decisions": {str(decision): decisions.count(decision) for decision in Decision},
        "expected_innocent_reviews": round(ranked * policy.alpha, 2),
        "smallest_group_bh_can_flag": _smallest_group(scores, baseline, policy.fdr),
        "p_floor": floor,
        "alpha": policy.alpha,
        "fdr": policy.fdr,
        "guarantee_state": state.value,
        "drift_p_values": {name: round(value, 6) for name, value in scores.drift.items()},
        "references": sum(len(kind.panel) for name, kind in baseline.kinds.items() if name != "pooled"),
        "references_needed_at_alpha": references_needed(policy.alpha),
        "baseline_digest": baseline.digest,
    }


def _period(scores: AccountScores) -> list[str] | None:
    """First and last time in the log; None where it has no times."""
    timed = scores.profiles.last_us != NO_TIME
    if not timed.any():
        return None
    ends = (int(scores.profiles.first_us[timed].min()), int(scores.profiles.last_us[timed].max()))
    return [_rfc3339(end) or "" for end in ends]


def _smallest_group(scores: AccountScores, baseline: Baseline, fdr: float) -> int | None:
    """Fewest owners that Benjamini-Hochberg could flag together, at the floor of the volumes in this log."""
    ranked = ~np.isnan(scores.p_pooled)
    if not ranked.any():
        return None
    panel = baseline.kinds[POOLED].panel
    heaviest = panel.bins.of(scores.profiles.trajectories.checkpoint).max()
    floor = float(panel.floor(np.array([heaviest + 1]))[0])
    return fewest_selected(floor, len(np.unique(scores.facts.owner[ranked])), fdr)
