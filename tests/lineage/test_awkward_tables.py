"""Tables as strangers hand them in: what is missing is named, what does not matter changes nothing."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdguard import lineage
from kdguard.detectors.fingerprint import Similarity
from kdguard.errors import LineageError
from kdguard.lineage import Claim, Controls, Family, Lineage
from kdguard.lineage.tables import with_ids
from kdguard.lineage.verdict import conclude
from tests.lineage.made import families, placed, table


def test_a_gap_in_a_column_of_ids_changes_no_prompt() -> None:
    told = pd.DataFrame(
        {"model": ["a", "a", "", "b"], "prompt_id": [3.0, 12.0, 4.0, np.nan], "response": "x"}
    )
    assert with_ids(told)["prompt_id"].tolist() == ["3", "12"]
    written = told.assign(prompt_id=["3.0", "12.0", "", ""])
    assert with_ids(written)["prompt_id"].tolist() == ["3", "12"]
    frame = table(prompts=10, controls=5)
    gaps = pd.concat([frame, pd.DataFrame({"model": ["student"], "prompt_id": [np.nan], "response": ["x"]})])
    assert lineage.responses_of(gaps).prompts == lineage.responses_of(frame).prompts


def test_ids_that_are_no_numbers_stay_as_they_are() -> None:
    told = pd.DataFrame({"model": "a", "prompt_id": ["1.0", "chapter 1.0"], "response": "x"})
    assert with_ids(told)["prompt_id"].tolist() == ["1.0", "chapter 1.0"]


def test_a_family_without_rivals_is_told_apart_from_one_that_shares_no_prompt() -> None:
    responses, _, controls = placed(table(prompts=20, controls=20))
    alone = lineage.place_families(families()[:1], responses)
    only = Controls(controls.allowed[:1], np.ones(1, np.bool_))
    one = lineage.test(responses, alone, only, ["student"], [Similarity()], Claim(named=("a",)))[0]
    assert one.verdict is Lineage.INCONCLUSIVE
    assert "no family of another vendor has answers" in one.reason
    frame = table(prompts=20, controls=20)
    elsewhere = frame["model"] == "student"
    frame.loc[elsewhere, "prompt_id"] += 1_000
    responses, found, controls = placed(frame)
    one = lineage.test(responses, found, controls, ["student"], [Similarity()], Claim(named=("a",)))[0]
    assert one.reason == "no prompt was answered by suspect, family and controls alike"


def test_a_family_without_controls_says_so() -> None:
    responses, found, controls = placed(table(prompts=20, controls=20))
    nobody = Controls(controls.allowed & False, controls.told_apart)
    one = lineage.test(responses, found, nobody, ["student"], [Similarity()], Claim(named=("a",)))[0]
    assert (one.verdict, one.p_value, one.controls) == (Lineage.INCONCLUSIVE, None, 0)
    assert one.reason.startswith("no control of the family has answers")


def test_eighteen_controls_support_no_claim_at_five_per_cent() -> None:
    responses, found, controls = placed(table(prompts=20, controls=18))
    claim = Claim(named=("a",), alpha=0.05)
    one = lineage.test(responses, found, controls, ["student"], [Similarity()], claim)[0]
    assert one.verdict is Lineage.INCONCLUSIVE
    assert one.reason == "18 controls cannot support 1 family at 0.05: 19 are needed"


def test_a_member_named_twice_counts_once_and_one_of_two_families_is_refused_by_name() -> None:
    responses = placed(table(prompts=10, controls=2))[0]
    twice = Family("a", ("teacher-a", "teacher-a"))
    assert (lineage.place_families([twice], responses).of_model >= 0).sum() == 1
    with pytest.raises(LineageError, match="is in 'a' and 'b'"):
        lineage.place_families([twice, Family("b", ("teacher-a",))], responses)


def test_a_file_of_controls_without_kinds_says_so() -> None:
    responses, found, _ = placed(table(prompts=10, controls=2))
    empty = pd.DataFrame({"teacher_family": ["a"], "control": ["control-000"], "kind": [""]})
    with pytest.raises(LineageError, match="the file has none in its column 'kind'"):
        lineage.listed_controls(empty, ["student_pool"], found, responses)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_a_level_at_which_a_claim_would_say_nothing_is_refused(alpha: float) -> None:
    with pytest.raises(LineageError, match="alpha must be above 0"):
        Claim(alpha=alpha)
    with pytest.raises(LineageError, match="alpha must be above 0"):
        conclude(0.2, 100, 1, alpha, told_apart=True)


def test_a_suspect_that_was_stopped_tells_the_rank_of_the_stop_and_no_other() -> None:
    """Over all prompts its mean of ten would be ranked among means of sixty."""
    frame = table()
    responses = placed(frame)[0]
    later = frame["prompt_id"].astype(str).isin(responses.prompts[10:]) & (frame["model"] == "innocent")
    responses, found, controls = placed(frame[~later])
    claim = Claim(named=("a",), asked=10)
    one = lineage.test(responses, found, controls, ["innocent"], [Similarity()], claim)[0]
    assert one.evidence[0].p_value == one.p_value
    assert "as the suspect over 10 prompts" in one.evidence[0].summary
