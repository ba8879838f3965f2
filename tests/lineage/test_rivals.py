"""Published ways of telling lineage: what each does on answers whose parentage is known."""

from __future__ import annotations

import numpy as np
import pytest

from kdguard.detectors.fingerprint import Similarity
from kdguard.detectors.rivals.lineage import (
    above_threshold,
    first_tokens_agree,
    nearest_on_each,
    nearest_teacher,
    two_proportions,
)
from tests.lineage.made import placed, table


def test_every_rival_finds_a_student_and_the_nearest_teacher_also_names_one_for_an_innocent() -> None:
    responses, families, _ = placed(table(prompts=20, controls=10))
    columns = [responses.place("student"), responses.place("innocent")]
    cosine = Similarity().affinities(responses, families)[:, columns]
    assert nearest_teacher(cosine)[0].tolist() == [True, False]
    assert nearest_teacher(cosine)[1].sum() == 1
    assert two_proportions(nearest_on_each(cosine), 0.01).tolist() == [[True, False], [False, False]]
    middle = np.nanmean(cosine, axis=0).max(axis=1).mean()
    assert above_threshold(cosine, float(middle)).tolist() == [[True, False], [False, False]]


def test_two_proportions_claims_at_its_level_where_no_family_is_nearer() -> None:
    """2,000 suspects of three equal families: at most 5 % are claimed; fails falsely once in a thousand."""
    rng = np.random.default_rng(7)
    agreements = (rng.random((200, 2_000, 3)) < 0.3).astype(np.float64)
    claimed = two_proportions(agreements, 0.05).any(axis=1).sum()
    assert 0 < claimed <= 132


def test_first_words_agree_by_member_and_missing_answers_say_nothing() -> None:
    frame = table(prompts=3, controls=1)
    frame.loc[frame["model"] == "teacher-a", "response"] = ["Yes it is", "No", None]
    frame.loc[frame["model"] == "student", "response"] = ["Yes", "Well", "No"]
    responses, families, _ = placed(frame)
    agree = first_tokens_agree(responses, families)
    at = {prompt: row for row, prompt in enumerate(responses.prompts)}
    student = agree[[at["0"], at["1"], at["2"]], responses.place("student"), 0]
    assert student.tolist() == pytest.approx([1.0, 0.0, np.nan], nan_ok=True)
    assert np.isnan(agree[:, responses.place("teacher-a"), 0]).all(), "a model is not compared with itself"
