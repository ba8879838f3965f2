"""Findings as one versioned JSON document, written and read back; every version ever written still opens."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from kdguard.errors import InputError
from kdguard.evidence import Evidence, Guarantee
from kdguard.verdict import Alarm, Decision, Findings, GuaranteeState, Verdict

FORMAT = "kdguard-findings"
SCHEMA_VERSION = 1


def dump(findings: Findings) -> bytes:
    """Write findings as JSON: sorted keys, so the same findings give the same bytes.

    Raises:
        InputError: `summary` or `plots` holds something that JSON cannot.
    """
    document = {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "verdicts": [_verdict_json(verdict) for verdict in findings.verdicts],
        "summary": dict(findings.summary),
        "plots": dict(findings.plots),
    }
    options = orjson.OPT_SORT_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
    try:
        return orjson.dumps(document, option=options)
    except TypeError as error:
        raise InputError(f"findings must hold plain JSON values to be saved: {error}") from error


def load(data: bytes, source: str = "findings") -> Findings:
    """Read findings back, also from the lines that `kdguard score --json` prints (version 0).

    Args:
        data: What `dump` wrote, or JSON lines.
        source: Where the bytes came from, for error messages.

    Raises:
        InputError: Not findings, damaged, or written by a newer kdguard.
    """
    document = _document(data, source)
    version = document.get("schema_version")
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise InputError(f"{source}: 'schema_version' must be a whole number, got {version!r}")
    if version > SCHEMA_VERSION:
        raise InputError(
            f"{source}: written as version {version}, this kdguard reads up to {SCHEMA_VERSION}; "
            "open it with a newer kdguard"
        )
    for step in range(version, SCHEMA_VERSION):
        document = UPGRADES[step](document)
    try:
        return Findings(
            verdicts=tuple(_verdict(item) for item in document["verdicts"]),
            summary=dict(document["summary"]),
            plots=dict(document["plots"]),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{source}: damaged findings: {type(error).__name__}: {error}") from error


def _from_lines(document: dict[str, Any]) -> dict[str, Any]:
    """Upgrade version 0, which has no plots and less about each piece of evidence."""
    lines = document["lines"]
    summaries = [line["summary"] for line in lines if "subject" not in line and "summary" in line]
    return {
        "verdicts": [line for line in lines if "subject" in line],
        "summary": summaries[-1] if summaries else {},
        "plots": {},
    }


UPGRADES: Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]] = {0: _from_lines}


def _document(data: bytes, source: str) -> dict[str, Any]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        document = _lines(data, source)
    if isinstance(document, dict) and document.get("format") == FORMAT:
        return document
    if isinstance(document, dict) and ("subject" in document or "summary" in document):
        document = {"schema_version": 0, "lines": [document]}
    if isinstance(document, dict) and "lines" in document:
        return document
    raise InputError(f"{source}: must be findings of kdguard ('format': '{FORMAT}'), got something else")


def _lines(data: bytes, source: str) -> dict[str, Any]:
    lines = []
    for number, line in enumerate(data.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            item = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise InputError(f"{source}:{number}: must be JSON, got {error}") from error
        if not isinstance(item, dict) or not ({"subject", "summary"} & item.keys()):
            raise InputError(f"{source}:{number}: must be a line of 'kdguard score --json'")
        lines.append(item)
    if not lines:
        raise InputError(f"{source}: empty; expected findings of kdguard")
    return {"schema_version": 0, "lines": lines}


def _verdict_json(verdict: Verdict) -> dict[str, Any]:
    return {**verdict.to_json(), "evidence": [_evidence_json(item) for item in verdict.evidence]}


def _evidence_json(item: Evidence) -> dict[str, Any]:
    return {
        "detector": item.detector,
        "version": item.version,
        "subject": item.subject,
        "guarantee": item.guarantee.value,
        "score": _written(item.score),
        "p_value": item.p_value,
        "log10_e": _written(item.log10_e),
        "p_floor": item.p_floor,
        "n": item.n,
        "contribution": _written(item.contribution),
        "summary": item.summary,
        "exhibits": list(item.exhibits),
        "parameters_digest": item.parameters_digest,
    }


def _written(value: float | None) -> float | str | None:
    return value if value is None or math.isfinite(value) else str(value)  # "inf": JSON has no infinity


def _verdict(item: Mapping[str, Any]) -> Verdict:
    subject, alarm = item["subject"], item["first_alarm"]
    return Verdict(
        kind=subject["kind"],
        id=subject["id"],
        members=tuple(subject["members"]),
        decision=Decision(item["decision"]),
        p_value=item["p_value"],
        p_pooled=item["p_pooled"],
        p_floor=item["p_floor"],
        score=item["score"],
        requests=item["requests"],
        first_alarm=None if alarm is None else Alarm(request=alarm["request"], time=alarm["time"]),
        stratum=item["stratum"],
        calibration_size=item["calibration_size"],
        guarantee_state=GuaranteeState(item["guarantee_state"]),
        permitted=item["permitted"],
        abstain_reason=item["abstain_reason"],
        clusters=tuple(item["clusters"]),
        evidence=tuple(_evidence(piece, subject["id"]) for piece in item["evidence"]),
        techniques=tuple(item["techniques"]),
        baseline_digest=item["baseline_digest"],
    )


def _evidence(item: Mapping[str, Any], subject: str) -> Evidence:
    p_value, e_value = item.get("p_value"), item.get("log10_e")
    return Evidence(
        detector=item["detector"],
        version=item.get("version", ""),
        subject=item.get("subject", subject),
        guarantee=Guarantee(item["guarantee"]),
        score=float(item.get("score", 0.0)),
        p_value=p_value,
        log10_e=None if e_value is None else float(e_value),
        p_floor=item.get("p_floor", 1.0 if p_value is None else p_value),
        n=item.get("n", 0),
        contribution=float(item["contribution"]),
        summary=item["summary"],
        exhibits=tuple(item["exhibits"]),
        parameters_digest=item.get("parameters_digest", ""),
    )
