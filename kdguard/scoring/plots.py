"""The numbers behind a report's figures, in the form `kdguard.report.plots` describes."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np

from kdguard.features.signals import MARGIN_SCALE
from kdguard.scoring.baseline import POOLED, Baseline, Kind
from kdguard.scoring.score import DRIFT_LEVEL, AccountScores
from kdguard.scoring.spill import Spill
from kdguard.verdict import Findings

_MOST_POINTS = 1_000
_MOST_TIMELINES = 50
_CURVE = 200
_HISTOGRAM = 40
_SUSPICIOUS_NATS = 3


def figures(
    findings: Findings, scores: AccountScores, baseline: Baseline, spill: Spill, alpha: float
) -> dict[str, Any]:
    """Compute every figure.

    Args:
        findings: Verdicts, most suspicious first.
        scores: The scores behind them.
        baseline: What they were ranked among.
        spill: The log's signals, for time lines.
        alpha: Level whose threshold is drawn.
    """
    return {
        "score_distribution": _distribution(findings, scores, baseline, alpha),
        "calibration": {"strata": _curves(scores)},
        "contributions": {"detectors": _contributions(baseline)},
    } | _timeline(findings, scores, spill)


def _distribution(
    findings: Findings, scores: AccountScores, baseline: Baseline, alpha: float
) -> dict[str, Any]:
    decisions = {
        verdict.id: verdict.decision.value for verdict in findings.verdicts if verdict.kind == "account"
    }
    ranked = np.flatnonzero(~np.isnan(scores.p_value))
    top = ranked[np.argsort(-scores.score[ranked])][:_MOST_POINTS]
    return {
        "strata": [_histogram(kind, alpha) for name, kind in baseline.kinds.items() if name != POOLED],
        "accounts": [
            {
                "id": str(scores.facts.account_id[at]),
                "score": float(scores.score[at]),
                "stratum": str(scores.kind[at]),
                "decision": decisions[str(scores.facts.account_id[at])],
            }
            for at in top
        ],
        "left_out": int(len(ranked) - len(top)),
    }


def _histogram(kind: Kind, alpha: float) -> dict[str, Any]:
    first = kind.panel.best[:, 0]
    first = np.sort(first[~np.isnan(first)])
    counts, edges = np.histogram(first, bins=_HISTOGRAM)
    allowed = int(alpha * kind.panel.bins.share[0] * (len(first) + 1)) - 1
    return {
        "stratum": kind.name,
        "edges": edges.tolist(),
        "counts": counts.tolist(),
        "threshold": float(first[-1 - allowed]) if 0 <= allowed < len(first) else None,
    }


def _curves(scores: AccountScores) -> list[dict[str, Any]]:
    curves = []
    for name in sorted({str(kind) for kind in scores.kind if kind}):
        values = np.sort(scores.p_value[scores.kind == name])
        values = values[~np.isnan(values)]
        if not len(values):
            continue
        at = np.unique(np.linspace(0, len(values) - 1, min(_CURVE, len(values))).astype(int))
        drift = scores.drift.get(name)
        curves.append(
            {
                "stratum": name,
                "p": values[at].tolist(),
                "cdf": ((at + 1) / len(values)).tolist(),
                "accounts": len(values),
                "drift": "too_few"
                if drift is None
                else ("drifting" if drift * len(scores.drift) <= DRIFT_LEVEL else "stable"),
            }
            | ({} if drift is None else {"drift_p": drift})
        )
    return curves


def _contributions(baseline: Baseline) -> list[dict[str, Any]]:
    if baseline.contributions is None:
        return []
    return [
        {"detector": name, "quantiles": baseline.contributions[:, at].tolist()}
        for at, name in enumerate(baseline.suite.outputs)
    ]


def _timeline(findings: Findings, scores: AccountScores, spill: Spill) -> dict[str, Any]:
    shown = [v for v in findings.verdicts if v.kind == "account" and v.evidence][:_MOST_TIMELINES]
    if not shown:
        return {}
    place = {
        str(name): int(code) for name, code in zip(scores.facts.account_id, scores.facts.subject, strict=True)
    }
    days = spill.daily([place[verdict.id] for verdict in shown], _SUSPICIOUS_NATS * MARGIN_SCALE).to_pandas()
    if days.empty:
        return {}
    first, last = int(days["day"].min()), int(days["day"].max())
    accounts = []
    for verdict in shown:
        mine = (
            days[days["subject"] == place[verdict.id]]
            .set_index("day")
            .reindex(range(first, last + 1), fill_value=0)
        )
        alarm = verdict.first_alarm.time if verdict.first_alarm else None
        accounts.append(
            {
                "account": verdict.id,
                "requests": mine["requests"].astype(int).tolist(),
                "suspicious": mine["suspicious"].astype(int).tolist(),
            }
            | ({"first_alarm": alarm} if alarm else {})
        )
    start = datetime.fromtimestamp(first * 86_400, UTC).isoformat().replace("+00:00", "Z")
    return {"timeline": {"unit": "day", "start": start, "accounts": accounts}}
