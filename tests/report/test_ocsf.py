"""Events carry what a SIEM needs, and only for subjects that need a look."""

from __future__ import annotations

import dataclasses
import json

import pytest

from kdguard.report.ocsf import findings_to_ocsf
from kdguard.verdict import Decision, Findings, GuaranteeState
from tests.report.made_findings import make_findings

NOW = 1_793_000_000_000


@pytest.fixture(scope="module")
def findings() -> Findings:
    return make_findings(benign=60)


def test_flags_and_reviews_only(findings: Findings) -> None:
    events = findings_to_ocsf(findings, time_ms=NOW)
    wanted = [v for v in findings.verdicts if v.decision in (Decision.FLAG, Decision.REVIEW)]
    assert [e["unmapped"]["decision"] for e in events] == [v.decision.value for v in wanted]
    assert len({e["finding_info"]["uid"] for e in events}) == len(events)


def test_required_fields(findings: Findings) -> None:
    for event in findings_to_ocsf(findings, time_ms=NOW):
        assert (event["class_uid"], event["category_uid"], event["activity_id"]) == (2004, 2, 1)
        assert event["type_uid"] == 200401
        assert event["time"] == NOW
        assert event["severity_id"] in {1, 2, 3, 4, 5}
        assert event["metadata"]["version"] == "1.8.0"
        assert event["metadata"]["product"] == {
            "name": "kdguard",
            "vendor_name": "kdguard",
            "version": "0.1.0",
        }
        assert event["finding_info"]["analytic"]["type_id"] == 3
        assert event["finding_info"]["title"]
        for evidence in event["evidences"]:
            assert "actor" in evidence or "data" in evidence
        json.dumps(event, allow_nan=False)


def test_a_flagged_group(findings: Findings) -> None:
    event = findings_to_ocsf(findings, time_ms=NOW)[0]
    info = event["finding_info"]
    assert event["severity"] == "Critical"
    assert event["is_alert"] is True
    assert info["related_events_count"] == 6_204
    assert info["first_seen_time"] == 1_791_688_800_000
    assert {
        "technique": {"uid": "AML.T0024.002", "name": "Extract AI Model"},
        "tactic": {"uid": "AML.TA0010", "name": "Exfiltration"},
        "version": "ATLAS 5.6.0",
    } in info["attacks"]
    actors = [e["actor"]["user"]["uid"] for e in event["evidences"] if "actor" in e]
    assert actors == list(findings.verdicts[0].members)
    assert len(info["related_events"]) == 20


def test_owasp_ids_are_controls_and_no_attacks(findings: Findings) -> None:
    event = findings_to_ocsf(findings, time_ms=NOW)[-1]
    assert all(a["technique"]["uid"].startswith("AML.") for a in event["finding_info"]["attacks"])
    assert event["unmapped"]["controls"][0]["uid"] == "LLM10:2025"


def test_a_permitted_account_is_informational(findings: Findings) -> None:
    events = findings_to_ocsf(findings, time_ms=NOW)
    assert [e["severity"] for e in events if e["unmapped"]["permitted"]] == ["Informational"]


def test_a_suspended_guarantee_is_a_finding(findings: Findings) -> None:
    summary = dict(findings.summary) | {"guarantee_state": "suspended", "guarantee_reason": "gateway drifted"}
    suspended = tuple(
        dataclasses.replace(v, guarantee_state=GuaranteeState.SUSPENDED) for v in findings.verdicts
    )
    last = findings_to_ocsf(Findings(verdicts=suspended, summary=summary, plots={}), time_ms=NOW)[-1]
    assert last["finding_info"]["types"] == ["guarantee_suspended"]
    assert "gateway drifted" in last["finding_info"]["desc"]


def test_uid_follows_the_subject_and_not_the_time(findings: Findings) -> None:
    first, later = (findings_to_ocsf(findings, time_ms=t) for t in (NOW, NOW + 1))
    assert [e["finding_info"]["uid"] for e in first] == [e["finding_info"]["uid"] for e in later]
