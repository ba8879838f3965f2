"""Verdicts on tables with known parentage: found, not accused, and silent where nothing can be said."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from kdguard import lineage
from kdguard.detectors.fingerprint import Imitation, Similarity, default_tests
from kdguard.errors import LineageError
from kdguard.lineage import Claim, Controls, Family, Lineage, LineageVerdict
from kdguard.lineage.consistency import consistent
from kdguard.lineage.tables import once_each
from kdguard.lineage.verdict import holm
from tests.lineage.made import families, placed, table


def verdicts(frame: pd.DataFrame, suspects: list[str], **claim: Any) -> dict[tuple[str, str], LineageVerdict]:
    responses, found, controls = placed(frame)
    told = lineage.test(responses, found, controls, suspects, [Similarity()], Claim(**claim))
    return {(one.suspect, one.teacher_family): one for one in told}


def test_a_student_is_found_early_and_an_innocent_is_not() -> None:
    found = verdicts(table(), ["student", "innocent"], named=("a", "b"))
    student = found["student", "a"]
    assert student.verdict is Lineage.SUPPORTED
    assert student.p_value == student.p_floor == pytest.approx(1 / 121)
    assert student.queries == 10
    assert student.log10_e is not None
    assert student.log10_e > 2
    assert found["student", "b"].verdict is Lineage.NOT_SUPPORTED
    assert all(found["innocent", family].verdict is Lineage.NOT_SUPPORTED for family in "ab")


def test_families_not_named_beforehand_are_paid_for() -> None:
    few = verdicts(table(), ["student"])["student", "a"]
    assert few.verdict is Lineage.INCONCLUSIVE
    assert "120 controls cannot support 2 families" in few.reason
    assert few.p_adjusted == pytest.approx(2 / 121)
    enough = verdicts(table(controls=200, prompts=20), ["student"])["student", "a"]
    assert enough.verdict is Lineage.SUPPORTED
    assert enough.families_tested == 2


def test_controls_rank_uniformly_among_themselves() -> None:
    """Every control as a suspect: exactly one a rank, so p <= 1/20 for at most a twentieth and ties."""
    frame = table(prompts=20, controls=60)
    names = [name for name in sorted(frame["model"].unique()) if name.startswith("control")]
    found = verdicts(frame, names, named=("a",), alpha=0.05)
    p_values = np.array([one.evidence[0].p_value for one in found.values()], np.float64)
    assert len(p_values) == 60
    assert np.mean(p_values <= 0.05) <= 0.05
    assert np.mean(p_values <= 0.5) == pytest.approx(0.5, abs=0.05)


def test_too_few_controls_make_no_claim() -> None:
    one = verdicts(table(controls=18), ["student"], named=("a",), alpha=0.05)["student", "a"]
    assert one.verdict is Lineage.INCONCLUSIVE
    assert one.p_value == pytest.approx(1 / 19)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda text: "", "answers that are not empty"),
        (lambda text: "yes", "carry no style"),
        (lambda text: "I am sorry but I cannot help with that", "refusals or a fixed reply"),
        (lambda text: None, "answers that are not empty"),
    ],
)
def test_answers_without_style_are_inconclusive(change: Any, reason: str) -> None:
    frame = table(prompts=20)
    mine = frame["model"] == "student"
    frame.loc[mine, "response"] = frame.loc[mine, "response"].map(change)
    one = verdicts(frame, ["student"], named=("a",))["student", "a"]
    assert one.verdict is Lineage.INCONCLUSIVE
    assert reason in one.reason
    assert one.p_value is None
    assert one.to_json()["guarantee"] == ("conformal" if one.evidence else "descriptive")


def test_a_suspect_is_no_control_of_itself_under_another_name() -> None:
    frame = table()
    twin = frame[frame["model"] == "student"].assign(model="control-000")
    twin["response"] = " " + twin["response"].str.replace(" ", "\n ", n=3) + " "
    frame = pd.concat([frame[frame["model"] != "control-000"], twin])
    one = verdicts(frame, ["student"], named=("a",))["student", "a"]
    assert one.verdict is Lineage.SUPPORTED
    assert one.controls == 119


def test_missing_prompts_and_repeated_answers_do_not_matter() -> None:
    frame = table()
    some = frame[(frame["model"] != "teacher-a") | (frame["prompt_id"] % 3 > 0)]
    again = pd.concat([some, frame[frame["model"] == "student"].assign(response="something else entirely")])
    assert placed(again)[0].repeated == 60
    assert verdicts(again, ["student"], named=("a",))["student", "a"].verdict is Lineage.SUPPORTED


def test_without_a_controls_file_a_claim_needs_vendors() -> None:
    responses, found, _ = placed(table())
    derived = lineage.derived_controls(found)
    one = lineage.test(responses, found, derived, ["student"], [Similarity()], Claim(named=("a",)))[0]
    assert one.verdict is Lineage.INCONCLUSIVE
    assert "give --controls" in one.reason


def test_the_order_of_rows_changes_nothing() -> None:
    frame = table(prompts=20)
    shuffled = frame.sample(frac=1, random_state=1)
    first, second = (verdicts(one, ["student"], named=("a",)) for one in (frame, shuffled))
    assert first["student", "a"].to_json() == second["student", "a"].to_json()


def test_impossible_questions_are_refused() -> None:
    with pytest.raises(LineageError, match="no answers of model 'nobody'"):
        verdicts(table(prompts=10, controls=20), ["nobody"])
    with pytest.raises(LineageError, match="no family 'c'"):
        verdicts(table(prompts=10, controls=20), ["student"], named=("c",))
    with pytest.raises(LineageError, match="missing response"):
        lineage.responses_of(pd.DataFrame({"model": ["a"], "prompt_id": [1]}))
    with pytest.raises(LineageError, match="no member of any family"):
        lineage.place_families(families(), lineage.responses_of(table(10, 2).query("model == 'student'")))


def much_imitated() -> tuple[Family, ...]:
    """Family a, from whose vendor families b and c are documented to have learnt; d has not."""
    return (
        Family("a", ("teacher-a",), "north"),
        Family("b", ("teacher-b",), "south", output_lineage=("north",)),
        Family("c", ("control-000",), "east", output_lineage=("north",)),
        Family("d", ("control-001",), "west"),
    )


def test_imitation_drives_the_verdict_on_a_much_imitated_family() -> None:
    responses, _, controls = placed(table(prompts=20, controls=40))
    found = lineage.place_families(much_imitated(), responses)
    everybody = Controls(np.repeat(controls.allowed[:1], 4, axis=0), np.ones(4, np.bool_))
    told = lineage.test(responses, found, everybody, ["student"], default_tests(), Claim(alpha=0.05))
    detectors = {one.teacher_family: [item.detector for item in one.evidence] for one in told}
    assert detectors["a"][:3] == [
        "fingerprint.imitation",
        "fingerprint.imitation.bet",
        "fingerprint.similarity",
    ]
    assert not any(name.startswith("fingerprint.imitation") for name in detectors["d"])
    assert told[0].controls == 39, (
        "without family d's own vendor nobody is left to learn from, so d ranks nowhere"
    )
    assert told[0].p_value == pytest.approx(1 / 40)


def test_a_control_that_teaches_is_compared_under_a_discriminator_that_has_not_seen_it() -> None:
    """Over all readings every control is ranked once a family; the full one ranks nobody that it learnt from."""
    responses, _, _ = placed(table(prompts=20, controls=5))
    found = lineage.place_families(much_imitated(), responses)
    readings = list(Imitation().readings(responses, found, np.array([0])))
    ranked = np.sum([reading.ranks[:, 0] for reading in readings], axis=0)
    assert (ranked == 1).all()
    teacher = responses.place("control-001")
    assert [bool(reading.ranks[teacher, 0]) for reading in readings] == [False, True]
    seen, unseen = (reading.affinities[:, teacher, 0] for reading in readings)
    assert np.isnan(unseen).all(), "without family d nothing is left to set family a against"
    assert np.isfinite(seen).all()


def test_a_suspect_that_stopped_early_is_ranked_among_whole_controls() -> None:
    frame = table()
    responses = placed(frame)[0]
    later = frame["prompt_id"].astype(str).isin(responses.prompts[20:]) & (frame["model"] == "student")
    stopped = verdicts(frame[~later], ["student"], named=("a",), asked=20)["student", "a"]
    whole = verdicts(frame, ["student"], named=("a",))["student", "a"]
    assert (stopped.p_value, stopped.queries) == (whole.p_value, 10)
    innocent = verdicts(frame, ["innocent"], named=("a",), asked=20)["innocent", "a"]
    assert innocent.queries == 20


def test_the_description_names_no_family_where_a_competitor_is_as_near() -> None:
    responses, _, _ = placed(table(prompts=10, controls=5))
    found = lineage.place_families(much_imitated(), responses)
    scores = np.array([[3.0, 2.9, 0.0, 1.5], [3.0, 0.0, 0.0, 2.5], [1.9, 0.0, 0.0, 0.0]])
    named = consistent(scores, found)
    # b learnt from a's vendor, so it does not compete with a, but a competes with b; in the second row d is too near.
    assert np.argwhere(named).tolist() == [[0, 0]]


def test_holm_is_step_down() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})


def test_a_prompt_whose_id_is_a_number_here_and_text_there_is_one_prompt() -> None:
    frame = pd.DataFrame({"prompt_id": [1, "1", 2, "3"], "prompt": ["a", "a", "b", "b"]})
    kept, left_out = once_each(frame)
    assert (kept["prompt_id"].tolist(), left_out) == ([1, "1", 2], 1)
