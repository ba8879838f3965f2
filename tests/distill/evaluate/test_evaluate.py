"""The whole report: complete with and without teacher and control, JSON through and through."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from kdguard.distill.evaluate.evaluate import Setting, evaluate
from kdguard.errors import InputError
from tests.distill.evaluate.made import judged

SETTING = Setting(
    tasks=("intents", "refusals"), examples=8, max_tokens=4, price_per_hour=1.0, texts=("Some text.",)
)
DOSE = {"queries": 50, "teacher_tokens": 10, "teacher_share": 1.0, "graded_tokens": 0}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    models = [judged("student"), judged("teacher"), judged("control", 3)]
    return evaluate(models, SETTING, dose=DOSE)


def test_a_student_that_is_its_teacher_agrees_in_everything(report: dict[str, Any]) -> None:
    for part in ("in_distribution", "out_of_distribution"):
        found = report["agreement"][part]["student"]
        assert all(found[name]["value"] == 1 for name in ("top_1", "sequence", "refusal"))
        assert found["kl_nats"]["value"] == pytest.approx(0, abs=1e-6)
        assert report["agreement"][part]["control"]["kl_nats"]["value"] > 0
    for kind in ("corpus", "teacher_text", "texts"):
        mine, theirs = (report["perplexity"][kind][role] for role in ("student", "teacher"))
        assert mine == theirs
    assert report["vocabulary"] == "same"
    assert report["queries_per_point"]["of_agreement"] == pytest.approx(0.5)


def test_the_report_is_json_and_complete(report: dict[str, Any]) -> None:
    assert orjson.loads(orjson.dumps(report)) == report
    assert report["schema_version"] == 1
    for part in ("capability", "calibration", "efficiency", "models"):
        assert report[part].keys() == {"student", "teacher", "control"}
    assert report["refusals"]["rates"]["student"].keys() == {"harmful", "borderline", "benign"}
    assert report["efficiency"]["student"]["cost_per_1000_requests"]["together"] > 0
    assert report["setting"]["texts"] == 1  # how many, not what they say


def test_alone_a_student_is_judged_by_itself() -> None:
    found = evaluate([judged("student")], replace(SETTING, outside=(), texts=()))
    assert found["agreement"] == {"in_distribution": None, "out_of_distribution": None}
    assert found["queries_per_point"] is None
    assert found["vocabulary"] is None
    assert found["capability"]["student"].keys() == {"intents", "refusals"}


def test_another_vocabulary_is_said_so() -> None:
    found = evaluate([judged("student", 1, vocab=400), judged("teacher")], SETTING)
    assert found["vocabulary"] == "overlap"
    assert found["agreement"]["in_distribution"]["student"]["kl_nats"]["value"] > 0


def test_roles_must_be_clear() -> None:
    with pytest.raises(InputError, match="one student, and at most one teacher"):
        evaluate([judged("teacher")], SETTING)
    with pytest.raises(InputError, match="one student, and at most one teacher"):
        evaluate([judged("student"), judged("student")], SETTING)
    with pytest.raises(InputError, match="a corpus needs tasks out of"):
        evaluate([judged("student"), judged("teacher")], replace(SETTING, outside=("poems",)))
    with pytest.raises(InputError, match="no teacher world 'dolomite'"):
        evaluate([judged("student")], replace(SETTING, world="dolomite"))
