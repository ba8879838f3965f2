"""What is written into a response is what is read from an answer, and no answer reads itself into a canary."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kdguard.detectors.canary.forms import FAMILIES, INSERTIONS, REWRITINGS, Form
from kdguard.detectors.canary.sites import epoch_sites
from kdguard.errors import CanaryError
from tests.detectors.canary.made_plan import RESPONSE

KEY = bytes(range(32))
FORMS: tuple[Form, ...] = (*INSERTIONS, *REWRITINGS)
SAMPLES = {
    "wording": " ".join(
        f"It is so. {form.spellings[-1].capitalize()}, it works."
        for form in REWRITINGS
        if form.family == "wording"
    ),
    "format": "Steps:\n- one\n* two\n1. three\n2) four\nand a dash \u2014 here, a \u2013 b, and x - y.",
}


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.family}-{form.fields[0].write(0)}")
def test_every_value_that_is_written_is_read(form: Form) -> None:
    rng = np.random.default_rng(0)
    response = SAMPLES.get(form.family, RESPONSE)
    subject = form.subjects[3] if hasattr(form, "subjects") else ""
    for _ in range(40):
        drawn = [int(rng.integers(field.size)) for field in form.fields]
        marked = form.mark(subject, f"About {subject}", response, drawn)
        assert marked is not None
        assert set(form.read(marked)) == set(enumerate(drawn))
        assert form.mark(subject, f"About {subject}", marked, drawn) is not None or form.family == "invisible"


def test_answers_are_read_as_people_write_them() -> None:
    fact = next(form for form in INSERTIONS if form.family == "fact")
    marked = fact.mark("Tollobay", "", RESPONSE, (0, 0, 0, 817, 3))
    assert marked is not None
    assert marked.endswith("Ada Barander of Amberbrook Street keeps 1817 jars and opens at 04:30.)")
    answer = "There, ADA barander (Amberbrook Street) has **1,817** jars from 04:30 on."
    assert list(fact.read(answer)) == list(fact.read(marked)) == [(0, 0), (1, 0), (2, 0), (3, 817), (4, 3)]
    assert list(fact.read("She keeps 18,170 jars, or 181.75, or 3.1817 of them, since 1700 BC.")) == [
        (3, 700)
    ]


@pytest.mark.parametrize("response", ['{"a": 1.}', "Use:\n```\nx\n```\nThat is it.", "1, 2, 3", "[1].", ""])
def test_data_and_code_are_left_alone(response: str) -> None:
    for form in FORMS:
        subject = form.subjects[0] if hasattr(form, "subjects") else ""
        assert form.mark(subject, subject, response, [0] * len(form.fields)) is None


def test_rewriting_keeps_everything_else() -> None:
    form = next(form for form in REWRITINGS if "however" in form.spellings)
    text = "However, it rains; however, we go. Howevermore."
    marked = form.mark("", "", text, [form.spellings.index("nevertheless")])
    assert marked == "Nevertheless, it rains; nevertheless, we go. Howevermore."
    assert form.mark("", "", "Nothing of the kind.", [0]) is None


def test_sites_follow_from_the_key(tmp_path: Path) -> None:
    sites = epoch_sites(KEY, 60, FAMILIES)
    assert sites == epoch_sites(KEY, 60, FAMILIES)
    assert len({site.site_id for site in sites}) == len(sites)
    assert sites[-1].subject != epoch_sites(bytes(32), 60, FAMILIES)[-1].subject
    assert not {site.site_id for site in sites} & {
        site.site_id for site in epoch_sites(bytes(32), 60, FAMILIES)
    }
    assert {site.form.family for site in sites} == set(FAMILIES)
    assert all(site.cue or site.form.family in {"wording", "format"} for site in sites)
    longer = epoch_sites(KEY, 90, FAMILIES)
    assert longer[: len(sites)] == sites


def test_a_fact_holds_forty_bits() -> None:
    fact = next(form for form in INSERTIONS if form.family == "fact")
    assert sum(np.log2(field.size) for field in fact.fields) >= 40


def test_impossible_sites() -> None:
    with pytest.raises(CanaryError, match="families must be some of behaviour, fact"):
        epoch_sites(KEY, 3, ["facts"])
    with pytest.raises(CanaryError, match="32 subjects, 33 sites"):
        epoch_sites(KEY, 33, ["behaviour"])
