"""Findings for a SIEM: OCSF Detection Finding, class 2004, one event a subject that needs a look.

References:
    OCSF 1.8.0, `detection_finding`, `finding_info`, `evidences`, `attack`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any

from kdguard.report.plots import as_plots
from kdguard.report.techniques import AISVS, ATLAS, lookup
from kdguard.report.words import count, guarantee_state, guarantee_words, reason, visible
from kdguard.verdict import Decision, Findings, GuaranteeState, Verdict

OCSF_VERSION = "1.8.0"
_CLASS, _CATEGORY, _CREATE = 2004, 2, 1
_SEVERITY = {1: "Informational", 2: "Low", 3: "Medium", 4: "High", 5: "Critical"}
_STATISTICAL = 3  # analytic.type_id
_EXHIBITS, _MEMBERS = 20, 100
_KEPT = (
    "decision",
    "p_value",
    "p_pooled",
    "p_floor",
    "score",
    "stratum",
    "calibration_size",
    "guarantee_state",
    "permitted",
    "clusters",
    "baseline_digest",
)


def findings_to_ocsf(findings: Findings, *, time_ms: int) -> list[dict[str, Any]]:
    """Turn flags and reviews into Detection Findings; a suspended guarantee is one as well.

    Accounts that are not distinguishable from benign, or that nothing could be said about, are no findings.

    Args:
        findings: What a scoring run concluded.
        time_ms: Time of the events, in milliseconds since 1970 UTC; a report has no clock of its own.

    Returns:
        Events as plain JSON values, in the order of the verdicts. `finding_info.uid` depends on the subject
        and the baseline alone: scoring a longer log again updates a finding rather than adding another.
    """
    events = [
        _event(verdict, findings, time_ms)
        for verdict in findings.verdicts
        if verdict.decision in (Decision.FLAG, Decision.REVIEW)
    ]
    if guarantee_state(findings) is GuaranteeState.SUSPENDED:
        events.append(_suspended(findings, time_ms))
    return events


def severity(verdict: Verdict) -> int:
    """Return the OCSF severity: Critical for a flagged group, High for a flagged account, else less."""
    if verdict.permitted:
        return 1
    if verdict.decision is Decision.FLAG:
        return 5 if verdict.kind == "cluster" else 4
    return 2 if verdict.guarantee_state is GuaranteeState.UNCALIBRATED else 3


def _event(verdict: Verdict, findings: Findings, time_ms: int) -> dict[str, Any]:
    group = verdict.kind == "cluster"
    many = f" ({count(len(verdict.members), 'account')})" if group else ""
    title = f"Possible model extraction by {'group' if group else 'account'} {visible(verdict.id)}{many}"
    said = reason(verdict, findings.summary)
    info: dict[str, Any] = {
        "uid": _uid(verdict),
        "title": title,
        "desc": " ".join([said, *(visible(item.summary, 600) for item in verdict.evidence[:3])]),
        "types": ["model_extraction"],
        "analytic": _analytic(verdict.kind, findings),
        "attacks": _attacks(verdict),
        "created_time": time_ms,
        "related_events_count": verdict.requests,
        "related_events": [{"uid": request, "type": "API request"} for request in _exhibits(verdict)],
    }
    if verdict.first_alarm is not None and (first := _milliseconds(verdict.first_alarm.time)) is not None:
        info["first_seen_time"] = first
    event = _base(findings, time_ms, severity(verdict))
    event |= {
        "message": f"{title}. {said}",
        "is_alert": verdict.decision is Decision.FLAG,
        "finding_info": info,
        "evidences": _evidences(verdict),
        "remediation": {
            "desc": "A person decides: open the related events first. This is no ground for an automatic ban."
        },
        "unmapped": _unmapped(verdict),
    }
    return event


def _base(findings: Findings, time_ms: int, severity_id: int) -> dict[str, Any]:
    version = as_plots(findings.plots).get("inputs", {}).get("versions", {}).get("kdguard")
    product = {"name": "kdguard", "vendor_name": "kdguard"} | ({"version": str(version)} if version else {})
    return {
        "class_uid": _CLASS,
        "class_name": "Detection Finding",
        "category_uid": _CATEGORY,
        "category_name": "Findings",
        "activity_id": _CREATE,
        "activity_name": "Create",
        "type_uid": _CLASS * 100 + _CREATE,
        "time": time_ms,
        "severity_id": severity_id,
        "severity": _SEVERITY[severity_id],
        "status_id": 1,
        "status": "New",
        "metadata": {"version": OCSF_VERSION, "product": product},
    }


def _uid(verdict: Verdict) -> str:
    who = "\0".join(sorted(verdict.members)) if verdict.members else verdict.id
    content = "\0\0".join((verdict.kind, who, verdict.baseline_digest))
    return f"kdg-{hashlib.sha256(content.encode('utf-8', 'replace')).hexdigest()[:32]}"


def _analytic(kind: str, findings: Findings) -> dict[str, Any]:
    digest = as_plots(findings.plots).get("inputs", {}).get("baseline_digest", "")
    named = {"name": f"kdguard.{kind}", "type_id": _STATISTICAL, "type": "Statistical"}
    return named | ({"uid": f"baseline:{digest}"} if digest else {})


def _attacks(verdict: Verdict) -> list[dict[str, Any]]:
    """Return the ATLAS techniques; OWASP controls are no attacks and go to `unmapped.controls`."""
    found = [known for item in verdict.techniques if (known := lookup(item)) and known.catalogue is ATLAS]
    return [
        {
            "technique": {"uid": known.id, "name": known.name},
            "tactic": {"uid": known.tactic_id, "name": known.tactic},
            "version": f"ATLAS {known.catalogue.version}",
        }
        for known in found
    ]


def _exhibits(verdict: Verdict) -> list[str]:
    """Interleave the detectors' request ids, strongest detector first, without repeats."""
    longest = max((len(item.exhibits) for item in verdict.evidence), default=0)
    ranked = [e.exhibits[i] for i in range(longest) for e in verdict.evidence if i < len(e.exhibits)]
    return list(dict.fromkeys(ranked))[:_EXHIBITS]


def _evidences(verdict: Verdict) -> list[dict[str, Any]]:
    actors = verdict.members[:_MEMBERS] if verdict.kind == "cluster" else (verdict.id,)
    people: list[dict[str, Any]] = [{"name": "account", "actor": {"user": {"uid": name}}} for name in actors]
    data: list[dict[str, Any]] = [
        {
            "name": item.detector,
            "data": {
                "detector": item.detector,
                "version": item.version,
                "guarantee": item.guarantee.value,
                "contribution": item.contribution,
                "p_value": item.p_value,
                "n": item.n,
                "summary": item.summary,
                "exhibits": list(item.exhibits),
            },
        }
        for item in verdict.evidence
    ]
    if verdict.kind != "cluster":
        data = [{**item, "actor": {"user": {"uid": verdict.id}}} for item in data]
    return data + people if verdict.kind == "cluster" or not data else data


def _unmapped(verdict: Verdict) -> dict[str, Any]:
    whole: Mapping[str, Any] = verdict.to_json()
    controls = [
        known for item in verdict.techniques if (known := lookup(item)) and known.catalogue is not ATLAS
    ]
    return {
        **{name: whole[name] for name in _KEPT},
        "members_count": len(verdict.members),
        "controls": [
            {
                "uid": known.id,
                "name": known.name,
                "catalogue": known.catalogue.name,
                "version": known.catalogue.version,
            }
            for known in controls
        ],
    }


def _suspended(findings: Findings, time_ms: int) -> dict[str, Any]:
    title, words = guarantee_words(GuaranteeState.SUSPENDED)
    why = visible(str(findings.summary.get("guarantee_reason") or ""), 600)
    digest = next((v.baseline_digest for v in findings.verdicts if v.baseline_digest), "")
    uid = hashlib.sha256(f"suspended\0\0{digest}".encode()).hexdigest()[:32]
    control = lookup("AISVS-11.3.1")
    event = _base(findings, time_ms, 3)
    event |= {
        "message": f"{title}. {words}",
        "is_alert": True,
        "finding_info": {
            "uid": f"kdg-{uid}",
            "title": title,
            "desc": f"{words} {why}".strip(),
            "types": ["guarantee_suspended"],
            "analytic": _analytic("drift", findings),
            "attacks": [],
            "created_time": time_ms,
        },
        "evidences": [{"name": "drift", "data": {"guarantee_state": "suspended", "reason": why}}],
        "unmapped": {
            "baseline_digest": digest,
            "controls": []
            if control is None
            else [{"uid": control.id, "catalogue": AISVS.name, "version": AISVS.version}],
        },
    }
    return event


def _milliseconds(moment: str | None) -> int | None:
    try:
        parsed = dt.datetime.fromisoformat(moment or "")
    except ValueError:
        return None
    return int((parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)).timestamp() * 1000)
