"""Findings as a month of traffic gives them: a few hundred accounts, two groups, drawn from a seed."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np

from kdguard.evidence import Evidence, Guarantee
from kdguard.report.plots import QUANTILE_LEVELS
from kdguard.verdict import Alarm, Decision, Findings, GuaranteeState, Verdict

HOSTILE = '<script>alert("acct")</script>'
ALPHA, FDR = 0.01, 0.1
STRATA = {"interactive": 999, "batch and evaluation": 624, "coding agent": 412, "gateway": 214}
DETECTORS = {
    "technique_rate": (
        "Share of requests that elicit reasoning",
        "{k} of {n} requests ask for step-by-step reasoning or a rubric score; 95 % of benign accounts of "
        "this kind stay under 11 %.",
    ),
    "template_slots": (
        "One template, many fillings",
        "{t} templates cover {k} of {n} requests, with {u} different fillings; benign products repeat both.",
    ),
    "coverage": (
        "Breadth of topics",
        "Topics are spread over {u} regions of prompt space, wider than benign.",
    ),
    "tempo": ("Tempo and ramp", "Requests arrive at a median gap of 1.9 s around the clock, without ramp."),
    "logprob_harvest": (
        "Asks for log-probabilities",
        "{k} of {n} requests ask for the top 20 log-probabilities.",
    ),
    "session_shape": ("Shape of sessions", "Sessions have one turn; benign ones of this kind have 4."),
}
BASELINE = hashlib.sha256(b"baseline").hexdigest()
INPUTS = {
    "files": [
        {"name": "october.jsonl.zst", "sha256": "ab" * 32, "bytes": 48_210_331, "format": "jsonl"},
        {"name": "accounts.csv", "sha256": "cd" * 32, "bytes": 52_114, "format": "csv"},
    ],
    "parameters": {"alpha": ALPHA, "fdr": FDR, "epoch_days": 30},
    "versions": {"kdguard": "0.1.0", "schema": "1"},
    "baseline_digest": BASELINE,
    "created": "2026-11-02T09:14:00Z",
    "period": ["2026-10-01T00:00:12Z", "2026-10-30T23:59:48Z"],
    "command": "kdguard score october.jsonl.zst --accounts accounts.csv --baseline own.kdg --json",
}


def _evidence(
    rng: np.random.Generator, subject: str, score: float, n: int, strong: bool
) -> tuple[Evidence, ...]:
    names = list(DETECTORS)
    shares = rng.dirichlet(np.linspace(3.0, 0.6, len(names))) * score
    items = [
        Evidence(
            detector=name,
            version="1.2",
            subject=subject,
            guarantee=Guarantee.CONFORMAL if name != "session_shape" else Guarantee.DESCRIPTIVE,
            score=float(share * 2),
            p_value=float(max(0.001, np.exp(-max(share, 0.0) * 2))),
            p_floor=0.001,
            n=n,
            contribution=float(share),
            summary=DETECTORS[name][1].format(
                k=int(n * (0.8 if strong else 0.12)),
                n=n,
                t=int(rng.integers(1, 9)),
                u=int(rng.integers(20, 400)),
            ),
            exhibits=tuple(
                f"req-{hashlib.sha256(f'{subject}{name}{i}'.encode()).hexdigest()[:12]}" for i in range(4)
            ),
            parameters_digest=hashlib.sha256(name.encode()).hexdigest(),
        )
        for name, share in zip(names, shares, strict=True)
    ]
    return tuple(sorted(items, key=lambda item: -item.contribution))


def _account(
    rng: np.random.Generator, name: str, stratum: str, decision: Decision, p: float | None, **more: Any
) -> Verdict:
    references = STRATA[stratum]
    strong = decision in (Decision.FLAG, Decision.REVIEW)
    requests = (
        int(rng.integers(3, 9)) if p is None else int(np.exp(rng.normal(5.2 if strong else 4.2, 0.8)) + 10)
    )
    score = (
        None
        if p is None
        else float(rng.normal(0, 0.8) if not strong else 3.2 - np.log10(p) + rng.normal(0, 0.3))
    )
    first = int(rng.integers(8, min(requests, 60))) if strong else 0
    return Verdict(
        kind="account",
        id=name,
        decision=decision,
        p_value=p,
        p_pooled=None if p is None else max(p * 0.3, 1 / 2250),
        p_floor=None if p is None else 1 / (references + 1),
        score=score,
        requests=requests,
        first_alarm=Alarm(request=first, time=f"2026-10-{10 + first % 18:02d}T0{first % 9}:14:09Z")
        if strong
        else None,
        stratum=stratum,
        calibration_size=references,
        guarantee_state=GuaranteeState.ACTIVE,
        abstain_reason="6 requests; at least 10 are needed" if p is None else None,
        evidence=() if score is None else _evidence(rng, name, score, requests, strong),
        techniques=("AML.T0024.002", "AML.T0040", "LLM10:2025") if strong else (),
        baseline_digest=BASELINE,
        **more,
    )


def make_findings(seed: int = 7, benign: int = 360) -> Findings:
    """Draw findings: `benign` ordinary accounts, groups of 31 and 9, single harvesters, one hostile id."""
    rng = np.random.default_rng(seed)
    groups = {"c-1": [f"acct_{v:06x}" for v in rng.integers(0, 16**6, 31)]}
    groups["c-2"] = [f"team-eval-{i}" for i in range(9)]
    accounts: list[Verdict] = []
    for cluster, members in groups.items():
        for i, member in enumerate(members):
            flagged = cluster == "c-1" and i % 5 != 4
            decision = Decision.FLAG if flagged else Decision.REVIEW
            p = 1 / 1000 if flagged else (0.03 if cluster == "c-1" else 0.007)
            accounts.append(_account(rng, member, "interactive", decision, p, clusters=(cluster,)))
    accounts.append(_account(rng, HOSTILE, "gateway", Decision.REVIEW, 1 / 215))
    accounts.append(_account(rng, "acct_lone_harvester", "batch and evaluation", Decision.FLAG, 1 / 625))
    accounts.append(
        _account(rng, "lab-with-contract", "coding agent", Decision.REVIEW, 0.004, permitted=True)
    )
    names = list(STRATA)
    for i in range(benign):
        stratum = names[int(rng.choice(4, p=[0.45, 0.25, 0.18, 0.12]))]
        m = STRATA[stratum]
        p = float(np.ceil(rng.uniform() * (m + 1)) / (m + 1))
        decision = Decision.REVIEW if p <= ALPHA else Decision.CLEAR
        few = i % 17 == 0
        accounts.append(
            _account(
                rng,
                f"org{i % 300:03d}-{i}",
                stratum,
                Decision.ABSTAIN if few else decision,
                None if few else p,
            )
        )
    order = {"flag": 0, "review": 1, "clear": 2, "abstain": 3}
    accounts.sort(key=lambda v: (order[v.decision], v.p_pooled or 2, -(v.score or 0)))
    clusters = tuple(_cluster(rng, name, members) for name, members in groups.items())
    ranked = sum(v.p_value is not None for v in accounts)
    summary = {
        "accounts": len(accounts),
        "owners": len(accounts) - 22,
        "exchanges": sum(v.requests for v in accounts),
        "alpha": ALPHA,
        "fdr": FDR,
        "expected_innocent_reviews": round(ALPHA * ranked, 2),
        "guarantee_state": "active",
    }
    verdicts = clusters + tuple(accounts)
    return Findings(verdicts=verdicts, summary=summary, plots=_plots(rng, accounts, groups))


def _cluster(rng: np.random.Generator, name: str, members: list[str]) -> Verdict:
    strong = name == "c-1"
    return Verdict(
        kind="cluster",
        id=name,
        members=tuple(members),
        decision=Decision.FLAG if strong else Decision.REVIEW,
        p_value=1 / 400 if strong else 0.008,
        p_pooled=1 / 400 if strong else 0.008,
        p_floor=1 / 400,
        score=9.4 if strong else 4.1,
        requests=6_204 if strong else 1_480,
        first_alarm=Alarm(request=212, time="2026-10-11T03:20:00Z") if strong else None,
        stratum="groups of 8 to 40 accounts",
        calibration_size=399,
        guarantee_state=GuaranteeState.ACTIVE,
        evidence=_evidence(rng, name, 9.4 if strong else 4.1, 6_204, strong),
        techniques=("AML.T0008.005", "AML.T0021", "AML.T0024.002"),
        baseline_digest=BASELINE,
    )


def _plots(rng: np.random.Generator, accounts: list[Verdict], groups: dict[str, list[str]]) -> dict[str, Any]:
    ranked = [v for v in accounts if v.p_value is not None and v.score is not None]
    points = [
        {"id": v.id, "score": v.score, "stratum": v.stratum, "decision": v.decision.value} for v in ranked
    ]
    quantiles = np.quantile(rng.gumbel(0.0, 0.35, 2_000), QUANTILE_LEVELS).tolist()
    detectors = [
        {"detector": name, "title": title, "quantiles": quantiles} for name, (title, _) in DETECTORS.items()
    ]
    return {
        "score_distribution": {"strata": [_histogram(rng, name) for name in STRATA], "accounts": points},
        "calibration": {"strata": _curves(ranked)},
        "contributions": {"detectors": detectors},
        "timeline": _timeline(rng, ranked),
        "cluster_graph": [_graph(rng, name, members) for name, members in groups.items()],
        "inputs": INPUTS,
    }


def _histogram(rng: np.random.Generator, stratum: str) -> dict[str, Any]:
    counts, edges = np.histogram(rng.gumbel(0.0, 0.7, STRATA[stratum]), bins=36)
    return {"stratum": stratum, "edges": edges.tolist(), "counts": counts.tolist(), "threshold": 3.1}


def _curves(ranked: list[Verdict]) -> list[dict[str, Any]]:
    curves = []
    for name in STRATA:
        p = sorted(float(v.p_value or 0) for v in ranked if v.stratum == name)
        cdf = [(i + 1) / len(p) for i in range(len(p))]
        curve = {"stratum": name, "p": p[:200], "cdf": cdf[:200], "accounts": len(p)}
        curves.append(curve | {"drift": "stable", "drift_p": 0.41})
    curves[-1] |= {"drift": "too_few", "drift_p": None}
    return curves


def _timeline(rng: np.random.Generator, ranked: list[Verdict]) -> dict[str, Any]:
    daily = np.where(np.arange(30) > 8, 9, 0) * (np.arange(30) % 7 < 5)
    rows = []
    for v in [v for v in ranked if v.decision in (Decision.FLAG, Decision.REVIEW)][:50]:
        requests = rng.poisson(daily + 0.4 if v.clusters else np.full(30, 6.0))
        doubt = rng.binomial(requests, 0.8 if v.clusters else 0.4)
        row = {"account": v.id, "requests": requests.tolist(), "suspicious": doubt.tolist()}
        rows.append(row | {"first_alarm": v.first_alarm.time if v.first_alarm else None})
    event = {"time": "2026-10-10T00:00:00Z", "label": "model m-large-3 released"}
    return {"unit": "day", "start": "2026-10-01T00:00:00Z", "accounts": rows, "events": [event]}


def _graph(rng: np.random.Generator, name: str, members: list[str]) -> dict[str, Any]:
    size = len(members)
    kinds = [
        "payment instrument",
        "payment instrument",
        "TLS fingerprint",
        "address block",
        "prompt template",
    ]
    attributes = []
    for i, kind in enumerate(kinds[: 5 if name == "c-1" else 2]):
        share = max(3, int(size * [0.5, 0.4, 0.9, 0.25, 0.6][i]))
        chosen = sorted(int(v) for v in rng.choice(size, min(share, size), replace=False))
        mark = hashlib.sha256(f"{name}{i}".encode()).hexdigest()
        attributes.append({"kind": kind, "hash": mark, "weight": 14.2 - 2 * i, "members": chosen})
    edges = [
        {"source": i, "target": i + 1, "kind": "same minute", "weight": 3.1} for i in range(0, size - 1, 4)
    ]
    return {
        "id": name,
        "nodes": [
            {"id": m, "requests": 40, "decision": "flag" if i % 5 != 4 else "review"}
            for i, m in enumerate(members)
        ],
        "attributes": attributes,
        "edges": edges,
    }


def without(findings: Findings, *figures: str) -> Findings:
    """Drop figures from findings."""
    return dataclasses.replace(findings, plots={k: v for k, v in findings.plots.items() if k not in figures})
