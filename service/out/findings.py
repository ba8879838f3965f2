"""Flags and reviews in the forms of other systems: OCSF, ECS, STIX 2.1."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

import orjson

from kdguard.report import saved
from kdguard.report.ocsf import findings_to_ocsf

_NAMESPACE = uuid.UUID("6f1f1c3e-3a52-5a6e-9d0a-6b6467756172")
_RISK = {"flag": 80.0, "review": 50.0}


def findings_as(
    format: Literal["ocsf", "ecs", "stix"],
    lines: Sequence[Mapping[str, Any]],
    summary: Mapping[str, Any],
    time_ms: int,
) -> Any:
    """Findings in a format.

    Args:
        format: OCSF Detection Findings or ECS alerts, as lists; or a STIX 2.1 bundle.
        lines: Verdicts as `kdguard score --json` prints them.
        summary: The closing line.
        time_ms: Now, milliseconds since 1970.
    """
    if format == "ocsf":
        told = [*map(dict, lines), {"summary": dict(summary)}]
        return findings_to_ocsf(saved.load(b"\n".join(map(orjson.dumps, told)), "verdicts"), time_ms=time_ms)
    return ecs(lines, time_ms) if format == "ecs" else stix(lines, time_ms)


def ecs(lines: Sequence[Mapping[str, Any]], time_ms: int) -> list[dict[str, Any]]:
    """Alerts in the Elastic Common Schema."""
    return [
        {
            "@timestamp": _rfc3339(time_ms),
            "event": {
                "kind": "alert",
                "category": ["threat"],
                "type": ["indicator"],
                "id": _uuid(line),
                "module": "kdguard",
                "risk_score": _RISK.get(line["decision"], 0.0),
                "reason": "; ".join(item["summary"] for item in line["evidence"][:3]),
            },
            "rule": {"name": f"kdguard.{line['subject']['kind']}", "category": line["decision"]},
            "threat": {"technique": {"id": [name for name in line["techniques"] if name.startswith("AML.")]}},
            "user": {"id": _members(line)},
            "kdguard": {
                name: line[name]
                for name in ("decision", "p_value", "p_pooled", "guarantee_state", "baseline_digest")
            },
        }
        for line in lines
    ]


def stix(lines: Sequence[Mapping[str, Any]], time_ms: int) -> dict[str, Any]:
    """A STIX 2.1 bundle to share between providers: a campaign a cluster, an identity an account, who is in what."""
    now = _rfc3339(time_ms)
    common = {"spec_version": "2.1", "created": now, "modified": now}
    objects: dict[str, dict[str, Any]] = {}
    for line in lines:
        if line["subject"]["kind"] == "cluster":
            campaign = f"campaign--{_uuid(line)}"
            objects[campaign] = common | {
                "type": "campaign",
                "id": campaign,
                "name": f"model extraction {line['subject']['id']}",
                "description": "; ".join(item["summary"] for item in line["evidence"][:3])
                or line["decision"],
                "external_references": _references(line),
            }
        for account in _members(line):
            identity = f"identity--{uuid.uuid5(_NAMESPACE, f'account {account}')}"
            objects[identity] = common | {"type": "identity", "id": identity, "name": account}
            if line["subject"]["kind"] == "cluster":
                relation = f"relationship--{uuid.uuid5(_NAMESPACE, f'{campaign} {identity}')}"
                objects[relation] = common | {
                    "type": "relationship",
                    "id": relation,
                    "relationship_type": "attributed-to",
                    "source_ref": campaign,
                    "target_ref": identity,
                }
    bundle = {"type": "bundle", "id": f"bundle--{uuid.uuid5(_NAMESPACE, f'{now} {len(objects)}')}"}
    return bundle | {"objects": list(objects.values())}


def _members(line: Mapping[str, Any]) -> list[str]:
    return list(line["subject"]["members"]) or [line["subject"]["id"]]


def _references(line: Mapping[str, Any]) -> list[dict[str, str]]:
    return [
        {"source_name": "mitre-atlas" if name.startswith("AML.") else "owasp", "external_id": name}
        for name in line["techniques"]
    ]


def _uuid(line: Mapping[str, Any]) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{line['subject']['kind']} {line['subject']['id']}"))


def _rfc3339(time_ms: int) -> str:
    return (
        datetime.fromtimestamp(time_ms / 1e3, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
