"""Copied answers are seen as copied; ordinary ones are not."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdguard.lineage import place_families, responses_of
from kdguard.lineage.overlap import containments, longest_shared, overlaps, summary
from kdguard.lineage.record import alike
from tests.lineage.made import families, table


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    """The student copies the teacher's answer to every other prompt, but for its first and last five words."""
    made = table(prompts=20, controls=10)
    teacher = made[made["model"] == "teacher-a"].set_index("prompt_id")["response"]
    mine = made["model"] == "student"
    copied = {
        at: f"well then so now let {' '.join(text.split()[5:-5])} that is all" for at, text in teacher.items()
    }
    even = mine & (made["prompt_id"] % 2 == 0)
    made.loc[even, "response"] = made.loc[even, "prompt_id"].map(copied)
    return made


def test_a_copy_is_seen_and_shown(frame: pd.DataFrame) -> None:
    responses = responses_of(frame)
    found = place_families(families(), responses)
    shares = containments(responses, found)
    controls = np.array([responses.place(f"control-{at:03d}") for at in range(10)])
    student = responses.place("student")
    own = overlaps(shares[:, :, 0], responses, student, controls)
    assert own is not None
    assert own.nearly_verbatim == 10
    assert own.share == pytest.approx(0.5 * 23 / 32, abs=0.03)
    assert own.controls_as_high == 0
    assert own.is_unusual
    assert "10 of 20 answers are nearly verbatim" in summary(own, "a")
    (shown,) = alike(responses, found, [("student", "a")], {}).values()
    assert {one["teacher"] for one in shown} == {"teacher-a"}
    assert max(len(one["shared"].split()) for one in shown) == 30
    other = overlaps(shares[:, :, 0], responses, responses.place("innocent"), controls)
    assert other is not None
    assert other.share == 0
    assert not other.is_unusual


def test_no_model_is_compared_with_itself(frame: pd.DataFrame) -> None:
    responses = responses_of(frame)
    found = place_families(families(), responses)
    assert np.isnan(containments(responses, found)[:, responses.place("teacher-a"), 0]).all()


def test_short_answers_have_nothing_to_compare() -> None:
    made = table(prompts=10, controls=2)
    made.loc[made["model"] == "student", "response"] = "seven words are not enough for it"
    responses = responses_of(made)
    shares = containments(responses, place_families(families(), responses))
    assert overlaps(shares[:, :, 0], responses, responses.place("student"), np.array([], np.int64)) is None


def test_the_longest_shared_run_is_spelt_as_in_the_first_text() -> None:
    first = "So: The quick, brown fox jumps over the lazy dog again."
    assert longest_shared(first, "the QUICK brown fox jumps over the lazy dog!") == (
        "The quick, brown fox jumps over the lazy dog"
    )
    assert longest_shared(first, "nothing in common") == ""
