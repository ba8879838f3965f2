"""Findings for other systems: every kind of verdict that can be reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import pytest

from kdguard.evidence import Evidence, Guarantee
from kdguard.service.out.findings import findings_as
from kdguard.verdict import Decision, GuaranteeState, Verdict
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, running, scored


def cluster() -> dict[str, Any]:
    """A cluster under review, whose evidence has a p-value of its own, as `kdguard score --json` tells it."""
    evidence = Evidence(
        detector="coordination.group",
        version="3",
        subject="c-1",
        guarantee=Guarantee.CONFORMAL,
        score=4.0,
        p_value=0.01,
        p_floor=0.01,
        n=40,
        summary="40 accounts share cards and hours",
    )
    verdict = Verdict(
        kind="cluster",
        id="c-1",
        members=("acct-1", "acct-2"),
        decision=Decision.REVIEW,
        p_value=0.01,
        p_pooled=0.01,
        p_floor=0.01,
        score=4.0,
        requests=80,
        first_alarm=None,
        stratum="chat",
        calibration_size=99,
        guarantee_state=GuaranteeState.ACTIVE,
        evidence=(evidence,),
        techniques=("AML.T0024.002",),
        baseline_digest="00",
    )
    told: dict[str, Any] = json.loads(json.dumps(verdict.to_json()))
    return told


@pytest.mark.parametrize("form", ["ocsf", "ecs", "stix"])
def test_a_cluster_under_review_is_told_in_every_form(form: Literal["ocsf", "ecs", "stix"]) -> None:
    told = json.dumps(findings_as(form, [cluster()], {"accounts": 2}, 1_764_000_000_000))
    assert "acct-1" in told
    assert "AML.T0024.002" in told or form == "stix"


def test_nothing_to_tell_is_an_empty_list() -> None:
    assert findings_as("ocsf", [], {"accounts": 2}, 0) == []


def test_the_report_of_all_accounts_is_a_page_to_keep(tmp_path: Path) -> None:
    log = logs.rows(5)
    with running(tmp_path) as service:
        service.client.post("/v1/exchanges", content=logs.ndjson(log), headers=NDJSON)
        scored(service.client, len(log))
        page = service.client.get("/v1/report")
        (entry, *_) = service.client.get("/v1/audit").json()["items"]
    assert page.headers["content-disposition"] == 'attachment; filename="kdguard-report.html"'
    assert "thief-12" in page.text
    assert "http://" not in page.text.replace("http://www.w3.org/2000/svg", "")
    assert entry["action"] == "report.read"
