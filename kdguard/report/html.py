"""One self-contained page from the findings: no network, no clock, the same bytes for the same findings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment

from kdguard.report.cards import anchor, card, first_accounts, first_clusters, urgency
from kdguard.report.distribution import calibration_panels, points_left_out, score_panels
from kdguard.report.environment import environment
from kdguard.report.graph import draw
from kdguard.report.plots import MAX_TIMELINES, Plots, Timeline, as_plots, why_missing
from kdguard.report.strips import Activity, activity, axis_labels, bin_starts, event_marks
from kdguard.report.techniques import AISVS, ATLAS, OWASP_LLM
from kdguard.report.words import (
    DECISION_WORDS,
    count,
    expected_words,
    floor_words,
    guarantee_state,
    guarantee_words,
    headline,
    stratum_words,
    time_words,
    visible,
)
from kdguard.verdict import Decision, Findings, Verdict

TABLE_ROWS = 1_500


def render(findings: Findings, *, title: str = "Who is extracting the model?") -> str:
    """Write the report of one scoring run.

    Args:
        findings: What the run concluded; `findings.plots` is described in `kdguard.report.plots`.
        title: Heading of the page.

    Returns:
        A whole HTML document that opens from disk, prints, and asks the network for nothing.
    """
    plots = as_plots(findings.plots)
    accounts = [v for v in findings.verdicts if v.kind == "account"]
    clusters = [v for v in findings.verdicts if v.kind == "cluster"]
    graphs = {item["id"]: draw(item) for item in plots.get("cluster_graph", ()) if len(item["nodes"])}
    cluster_cards = [card(v, findings.summary, plots, graphs) for v in first_clusters(clusters)]
    account_cards = [card(v, findings.summary, plots, graphs) for v in first_accounts(accounts)]
    worth_a_look = sum(v.decision in (Decision.FLAG, Decision.REVIEW) for v in accounts)
    carded = {item.anchor for item in cluster_cards + account_cards}
    rows = _rows(accounts)
    page = _environment().get_template("report.html.j2")
    text = page.render(
        title=title,
        summary=findings.summary,
        inputs=plots.get("inputs", {}),
        overview=_overview(findings, accounts, clusters),
        cluster_cards=cluster_cards,
        account_cards=account_cards,
        hidden_reviews=worth_a_look - len(account_cards),
        anchors={v.id: anchor(v) for v in clusters},
        linked=carded,
        reachable=carded | {row.anchor for row in rows},
        have=set(plots),
        lanes=_lanes(plots, accounts),
        graphs=list(graphs.values()),
        scores=_scores(plots, accounts),
        scores_left_out=points_left_out(plots["score_distribution"]) if "score_distribution" in plots else 0,
        calibration=calibration_panels(plots["calibration"]) if "calibration" in plots else [],
        rows=rows,
        rows_left_out=max(len(accounts) - TABLE_ROWS, 0),
        missing={name: visible(why_missing(plots, name), 300) for name in _FIGURES},
        catalogues=(ATLAS, OWASP_LLM, AISVS),
    )
    return text.encode("utf-8", "replace").decode("utf-8")


_FIGURES = ("score_distribution", "calibration", "contributions", "timeline", "cluster_graph", "inputs")


def _environment() -> Environment:
    made = environment()
    made.filters.update(moment=time_words)
    made.globals.update(count=count)
    return made


@dataclass(frozen=True, slots=True)
class Overview:
    """The top of the page: one sentence, the counts, and what they mean."""

    headline: str
    tiles: tuple[tuple[str, str, int, int], ...]
    expected: str
    floor: str
    state: str
    state_title: str
    state_words: str
    state_reason: str


def _overview(findings: Findings, accounts: Sequence[Verdict], clusters: Sequence[Verdict]) -> Overview:
    of_accounts = Counter(v.decision for v in accounts)
    of_clusters = Counter(v.decision for v in clusters)
    state = guarantee_state(findings)
    title, words = guarantee_words(state)
    return Overview(
        headline=headline(
            of_accounts[Decision.FLAG],
            of_clusters[Decision.FLAG],
            of_accounts[Decision.REVIEW] + of_clusters[Decision.REVIEW],
        ),
        tiles=tuple((d.value, DECISION_WORDS[d], of_accounts[d], of_clusters[d]) for d in Decision),
        expected=expected_words(findings),
        floor=floor_words(findings.summary),
        state=state.value,
        state_title=title,
        state_words=words,
        state_reason=visible(str(findings.summary.get("guarantee_reason") or ""), 600),
    )


@dataclass(frozen=True, slots=True)
class Lane:
    """Rows of the activity timeline that belong together: one cluster, or accounts on their own."""

    title: str
    rows: tuple[tuple[str, str, str, Activity], ...]


@dataclass(frozen=True, slots=True)
class Lanes:
    """The activity timeline."""

    groups: tuple[Lane, ...]
    axis: tuple[tuple[float, str], ...]
    events: tuple[tuple[float, str], ...]
    unit: str
    start: str
    step_ms: int
    accounts: int
    has_suspicious: bool


def _lanes(plots: Plots, accounts: Sequence[Verdict]) -> Lanes | None:
    timeline: Timeline | None = plots.get("timeline")
    if timeline is None or not len(timeline["accounts"]):
        return None
    known = {v.id: v for v in accounts}
    groups: dict[str, list[tuple[str, str, str, Activity]]] = {}
    rows = timeline["accounts"][:MAX_TIMELINES]
    for row in rows:
        verdict = known.get(row["account"])
        group = verdict.clusters[0] if verdict is not None and verdict.clusters else ""
        decision = verdict.decision.value if verdict is not None else ""
        link = anchor(verdict) if verdict is not None else ""
        groups.setdefault(group, []).append(
            (visible(row["account"]), decision, link, activity(row, timeline))
        )
    start, width, _ = bin_starts(timeline)
    ordered = sorted(groups.items(), key=lambda item: (item[0] == "", item[0]))
    return Lanes(
        tuple(
            Lane(f"Group {visible(name)}" if name else "Accounts on their own", tuple(r))
            for name, r in ordered
        ),
        tuple(axis_labels(timeline)),
        tuple(event_marks(timeline)),
        timeline["unit"],
        start.isoformat(),
        int(width.total_seconds() * 1000),
        len(rows),
        any(row.get("suspicious") is not None for row in rows),
    )


def _scores(plots: Plots, accounts: Sequence[Verdict]) -> list[Any]:
    plot = plots.get("score_distribution")
    if plot is None:
        return []
    return list(score_panels(plot, {v.id: anchor(v) for v in accounts}))


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the full table; `order` is the place under the default sorting."""

    order: int
    anchor: str
    verdict: Verdict
    name: str
    decision: str
    stratum: str
    leading: str


def _rows(accounts: Sequence[Verdict]) -> list[Row]:
    ordered = sorted(accounts, key=urgency)[:TABLE_ROWS]
    return [
        Row(
            index,
            anchor(v),
            v,
            visible(v.id),
            DECISION_WORDS[v.decision],
            stratum_words(v.stratum),
            _leading(v),
        )
        for index, v in enumerate(ordered)
    ]


def _leading(verdict: Verdict) -> str:
    if verdict.decision is Decision.ABSTAIN:
        return visible(verdict.abstain_reason or "", 160)
    if verdict.permitted:
        return "permitted by contract"
    if verdict.decision is Decision.CLEAR or not verdict.evidence:
        return ""
    return visible(verdict.evidence[0].summary, 160)
