"""The page of a student's evaluation holds together, is inert, and says what cannot be said."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kdguard.errors import InputError
from kdguard.report.student import lead, render_student
from tests.report.made_student import evaluation, measured
from tests.report.test_html import Page

SECTIONS = ["likeness", "ability", "calibration", "refusals", "cost", "setting"]


@pytest.fixture(scope="module")
def markup() -> str:
    return render_student(evaluation())


def test_every_section_is_there_and_tags_nest(markup: str) -> None:
    page = Page(markup)
    assert not page.open
    assert page.ids() == SECTIONS
    links = {attributes["href"] for tag, attributes in page.tags if tag == "a"}
    assert links == {f"#{name}" for name in SECTIONS}


def test_nothing_is_fetched_and_names_are_inert(markup: str) -> None:
    page = Page(markup)
    assert not any("src" in attributes or tag == "script" for tag, attributes in page.tags)
    assert not re.search(r"https?://|<betting>|<student>", markup)
    assert "&lt;betting&gt;" in markup


def test_the_same_report_gives_the_same_bytes(markup: str) -> None:
    assert render_student(evaluation()) == markup


def test_marks_tell_value_and_interval(markup: str) -> None:
    assert "next token, student: 0.9 (0.8 to 1, 95 %)" in markup
    assert "next token, control: 0.2 (0.1 to 0.3, 95 %)" in markup
    assert "sure 0.85, right 0.70, 40 predictions" in markup


@pytest.mark.parametrize("roles", [("student",), ("student", "teacher"), ("student", "control")])
def test_without_a_teacher_or_control_the_rest_stands(roles: tuple[str, ...]) -> None:
    page = Page(render_student(evaluation(roles)))
    assert not page.open
    assert {"ability", "calibration", "refusals", "cost"} <= set(page.ids())
    assert "needs a teacher and an untaught control to tell" in page.text()


def agreeing(student: float, control: float | None) -> dict[str, Any]:
    report = evaluation()
    inside = {"student": {"top_1": measured(student)}}
    if control is not None:
        inside["control"] = {"top_1": measured(control)}
    return report | {"agreement": {"in_distribution": inside, "out_of_distribution": None}}


@pytest.mark.parametrize(
    ("report", "words"),
    [
        (
            agreeing(0.9, 0.2),
            "90% of the time, an untaught control 20%: more, and the intervals do not overlap",
        ),
        (agreeing(0.5, 0.45), "so this test does not tell them apart"),
        (agreeing(0.9, None), "Without an untaught control nobody can say"),
        (evaluation(("student",)), "There is no teacher to compare with"),
    ],
)
def test_the_first_sentence_claims_no_more_than_the_numbers(report: dict[str, Any], words: str) -> None:
    assert words in lead(report)


@pytest.mark.parametrize("change", [{"schema_version": 2}, {"kind": "findings"}])
def test_other_reports_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="must be a student's evaluation of schema_version at most 1"):
        render_student(evaluation() | change)
