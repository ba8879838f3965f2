"""The page of a lineage test holds together, is inert, and states facts."""

from __future__ import annotations

import re

import pytest

from kdguard.errors import InputError
from kdguard.report.lineage import lead, render_lineage
from tests.report.made_lineage import record, verdict
from tests.report.test_html import Page


@pytest.fixture(scope="module")
def markup() -> str:
    return render_lineage(record())


def test_every_section_is_there_and_tags_nest(markup: str) -> None:
    page = Page(markup)
    assert not page.open
    assert {"verdicts", "whole", "meaning", "inputs"} <= set(page.ids())
    links = {attributes["href"] or "" for tag, attributes in page.tags if tag == "a"}
    assert {link.removeprefix("#") for link in links} <= set(page.ids())


def test_nothing_is_fetched_and_answers_are_inert(markup: str) -> None:
    page = Page(markup)
    assert not any("src" in attributes or tag in {"script", "img"} for tag, attributes in page.tags)
    assert not re.search(r"https?://|<img|\u202e", markup)
    assert "&lt;img src=x" in markup
    assert "\\u202e" in markup


def test_what_two_answers_share_is_marked(markup: str) -> None:
    assert "<mark>the quick brown fox jumps over the lazy dog</mark>" in markup
    assert "<mark>The quick brown fox jumps over the lazy dog</mark>" in markup


def test_the_same_record_gives_the_same_bytes(markup: str) -> None:
    assert render_lineage(record()) == markup


def test_the_most_urgent_stands_first_and_the_silent_has_no_card(markup: str) -> None:
    text = Page(markup).text()
    assert text.index("student and north") < text.index("innocent and north")
    assert "silent and north" not in text
    assert "0 answers that are not empty" in text


def test_figures_tell_rank_queries_and_bet(markup: str) -> None:
    assert "123 controls; 0 stand as high over all prompts" in markup
    assert "after 20 prompts: p = 0.008" in markup
    assert "after 20 prompts: 251 to 1" in markup
    assert "the first bet" in markup
    assert "another bet" not in markup


def test_confounds_that_weigh_are_told_from_those_not_checked(markup: str) -> None:
    text = re.sub(r"\s+", " ", Page(markup).text())
    assert re.search("length of answers ?weighs ?much shorter", text)
    assert re.search("same base model ?not checked ?not told", text)


def test_the_first_sentence_states_what_stands_out() -> None:
    told = record()
    assert lead(told).startswith("student stands closer to north")
    assert lead(told | {"verdicts": [told["verdicts"][0]]}).endswith("no proof of independence.")
    assert "0 answers" in lead(told | {"verdicts": [told["verdicts"][2]]})
    assert lead(told | {"verdicts": [verdict(), verdict("second")]}).startswith("2 of 2 questions")


def test_nobody_is_accused(markup: str) -> None:
    text = Page(markup).text().lower()
    assert not re.search(r"\b(stolen|theft|thief|guilty|infring|illegal|clean)\b", text)


def test_another_kind_of_record_is_refused() -> None:
    with pytest.raises(InputError, match="must be a lineage record"):
        render_lineage({"kind": "student_evaluation", "schema_version": 1})
