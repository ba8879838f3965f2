"""Saved findings open again, whichever version wrote them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from kdguard.errors import InputError
from kdguard.report.html import render
from kdguard.report.saved import FORMAT, SCHEMA_VERSION, dump, load
from kdguard.verdict import Decision, Findings
from tests.report.made_findings import make_findings

OLD = Path(__file__).parent / "saved"


@pytest.fixture(scope="module")
def findings() -> Findings:
    return make_findings(benign=40)


def test_round_trip(findings: Findings) -> None:
    data = dump(findings)
    back = load(data)
    assert back.verdicts == findings.verdicts
    assert back.summary == findings.summary
    assert dump(back) == data
    assert render(back) == render(findings)


def test_numpy_and_infinity_survive(findings: Findings) -> None:
    verdict = findings.verdicts[0]
    odd = dataclasses.replace(verdict.evidence[0], log10_e=float("-inf"), contribution=float("inf"))
    whole = Findings(
        verdicts=(dataclasses.replace(verdict, evidence=(odd,)),),
        summary={"accounts": np.int64(3)},
        plots={"calibration": {"strata": [{"p": np.array([0.1, 0.2])}]}},
    )
    back = load(dump(whole))
    assert back.verdicts == whole.verdicts
    assert back.summary == {"accounts": 3}
    assert back.plots["calibration"]["strata"][0]["p"] == [0.1, 0.2]


def test_lines_of_score_json_open_as_version_0(findings: Findings) -> None:
    lines = [json.dumps(v.to_json()) for v in findings.verdicts] + [
        json.dumps({"summary": dict(findings.summary)})
    ]
    back = load("\n".join(lines).encode())
    assert [v.to_json() for v in back.verdicts] == [v.to_json() for v in findings.verdicts]
    assert back.summary == findings.summary
    assert "no account of the inputs" in render(back)
    one = load(lines[0].encode())
    assert one.verdicts[0].id == findings.verdicts[0].id


@pytest.mark.parametrize("path", sorted(OLD.iterdir()), ids=lambda p: p.name)
def test_every_version_ever_written_opens(path: Path) -> None:
    back = load(path.read_bytes(), path.name)
    assert [v.decision for v in back.verdicts if v.kind == "cluster"] == [Decision.FLAG, Decision.REVIEW]
    assert render(back).startswith("<!DOCTYPE html>")


def test_a_sample_of_this_version_is_kept() -> None:
    kept = {json.loads(p.read_bytes())["schema_version"] for p in OLD.glob("*.json")}
    assert SCHEMA_VERSION in kept


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (json.dumps({"format": FORMAT, "schema_version": 99}).encode(), "open it with a newer kdguard"),
        (json.dumps({"format": FORMAT, "schema_version": "1"}).encode(), "must be a whole number"),
        (json.dumps({"format": FORMAT, "schema_version": 1, "verdicts": [{}]}).encode(), "damaged findings"),
        (b'{"some": "thing"}', "must be findings of kdguard"),
        (b"[1, 2]", "must be findings of kdguard"),
        (b'{"summary": {}}\n{"subj', "old.json:2: must be JSON"),
        (b'{"summary": {}}\n7', "old.json:2: must be a line"),
        (b"", "old.json: empty"),
        (b"\x00\xff", "old.json:1: must be JSON"),
    ],
)
def test_what_cannot_be_read_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load(data, "old.json")


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match="plain JSON values"):
        dump(Findings(verdicts=(), summary={"when": {1j}}, plots={}))
