"""Which subjects an analyst should see first, and everything a card says about one."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdguard.report.graph import Drawing
from kdguard.report.plots import Plots, TimelineRow
from kdguard.report.strips import Activity, Strip, activity, evidence_strips
from kdguard.report.techniques import Technique, lookup
from kdguard.report.words import (
    DECISION_WORDS,
    number_words,
    p_words,
    reason,
    stratum_words,
    time_words,
    visible,
)
from kdguard.verdict import Decision, Verdict

ACCOUNT_CARDS = 20
CLUSTER_CARDS = 20
_PER_CLUSTER = 4  # so that one large group does not crowd everybody else out
_EXHIBITS = 8
_URGENCY = {Decision.FLAG: 0, Decision.REVIEW: 1, Decision.CLEAR: 2, Decision.ABSTAIN: 3}


@dataclass(frozen=True, slots=True)
class Named:
    """A technique id as shown: `known` is None for an id outside the table."""

    id: str
    known: Technique | None


@dataclass(frozen=True, slots=True)
class Card:
    """One subject, in words and figures.

    Attributes:
        ranks: Evidence that states a rank and has no share in a score: its sentence, and requests to open first.
        strips: Evidence with a share in the score.
        left_out: Further evidence, too weak to draw.
    """

    anchor: str
    verdict: Verdict
    name: str
    decision: str
    reason: str
    facts: tuple[tuple[str, str], ...]
    ranks: tuple[tuple[str, tuple[str, ...]], ...]
    strips: tuple[Strip, ...]
    left_out: int
    techniques: tuple[Named, ...]
    activity: Activity | None
    graph: Drawing | None
    clusters: tuple[str, ...]


def anchor(verdict: Verdict) -> str:
    """Return an id for links within the page: never the account id itself, which may hold anything."""
    return f"{verdict.kind[:1]}-{hashlib.sha256(verdict.id.encode('utf-8', 'replace')).hexdigest()[:12]}"


def urgency(verdict: Verdict) -> tuple[int, float, float, float]:
    """Sort key, most urgent first: decision, pooled p, p, then score."""
    return (
        _URGENCY[verdict.decision],
        1.0 if verdict.p_pooled is None else verdict.p_pooled,
        1.0 if verdict.p_value is None else verdict.p_value,
        -(verdict.score if verdict.score is not None else 0.0),
    )


def first_clusters(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the clusters to show as cards, most urgent first."""
    wanted = [v for v in verdicts if v.kind == "cluster" and v.decision in (Decision.FLAG, Decision.REVIEW)]
    return sorted(wanted, key=lambda v: (urgency(v), -len(v.members)))[:CLUSTER_CARDS]


def first_accounts(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """Return the accounts to show as cards, most urgent first, at most a few of each cluster."""
    wanted = [v for v in verdicts if v.kind == "account" and v.decision in (Decision.FLAG, Decision.REVIEW)]
    taken: list[Verdict] = []
    of_cluster: dict[str, int] = {}
    for verdict in sorted(wanted, key=urgency):
        if any(of_cluster.get(cluster, 0) >= _PER_CLUSTER for cluster in verdict.clusters):
            continue
        for cluster in verdict.clusters:
            of_cluster[cluster] = of_cluster.get(cluster, 0) + 1
        taken.append(verdict)
    return taken[:ACCOUNT_CARDS]


def card(
    verdict: Verdict, summary: Mapping[str, Any], plots: Plots, graphs: Mapping[str, Drawing], limit: int = 6
) -> Card:
    """Describe one subject; `graphs` holds the drawings of clusters by id."""
    timeline = plots.get("timeline")
    rows: Mapping[str, TimelineRow] = (
        {} if timeline is None else {row["account"]: row for row in timeline["accounts"]}
    )
    row = rows.get(verdict.id) if verdict.kind == "account" else None
    ranks = [item for item in verdict.evidence if item.p_value is not None and not item.contribution]
    parts = [item for item in verdict.evidence if item not in ranks]
    strips = tuple(evidence_strips(parts, plots, verdict.stratum, limit))
    return Card(
        anchor=anchor(verdict),
        verdict=verdict,
        name=visible(verdict.id),
        decision=DECISION_WORDS[verdict.decision],
        reason=reason(verdict, summary),
        facts=facts(verdict),
        ranks=tuple((visible(item.summary, 600), item.exhibits[:_EXHIBITS]) for item in ranks),
        strips=strips,
        left_out=len(parts) - len(strips),
        techniques=tuple(Named(visible(item, 40), lookup(item)) for item in verdict.techniques),
        activity=None if row is None or timeline is None else activity(row, timeline),
        graph=graphs.get(verdict.id) if verdict.kind == "cluster" else None,
        clusters=tuple(verdict.clusters),
    )


def facts(verdict: Verdict) -> tuple[tuple[str, str], ...]:
    """Return what a card states about a subject, as name and value."""
    group = verdict.kind == "cluster"
    p, floor = p_words(verdict.p_value), p_words(verdict.p_floor)
    rows = [
        ("p in its stratum" if not group else "p among groups", f"{p} (floor {floor})"),
        ("p over all sizes, for ordering" if group else "p over all strata", p_words(verdict.p_pooled)),
        ("Score", number_words(verdict.score)),
        ("Requests", f"{verdict.requests:,}"),
    ]
    if group:
        rows.append(("Accounts", f"{len(verdict.members):,}"))
    if verdict.first_alarm is not None:
        alarm = verdict.first_alarm
        rows.append(("First alarm", f"at request {alarm.request:,}, {time_words(alarm.time)}"))
    things = "benign groups" if group else "references"
    rows.append(("Compared with", f"{stratum_words(verdict.stratum)}; {verdict.calibration_size:,} {things}"))
    if verdict.permitted:
        rows.append(("Contract", "permits training on outputs"))
    return tuple(rows)
