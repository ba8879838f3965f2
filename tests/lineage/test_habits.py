"""Templates and layout: evidence beside the wording."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from kdguard import lineage
from kdguard.detectors.fingerprint import Layout, Similarity, Templates
from kdguard.lineage import Claim
from kdguard.lineage.protocol import Affinity
from tests.lineage.made import placed, table

_LAID_OUT = "# {0}\n\n- {1}\n- {2}\n- {3}\n\nI am sorry, but that is all. {0} {1} {2}."
_PLAIN = "{0} {1} {2} {3}. {1} {2} {0}."


def _written(frame: pd.DataFrame) -> pd.DataFrame:
    """Teacher a and its student lay answers out alike, in different words; everybody else writes plainly."""
    like_a = frame["model"].isin(["teacher-a", "student"])
    words = [text.split()[:4] for text in frame["response"]]
    texts = [(_LAID_OUT if a else _PLAIN).format(*each) for a, each in zip(like_a, words, strict=True)]
    return frame.assign(response=texts)


@pytest.mark.parametrize("test", [Templates(), Layout()])
def test_habits_are_ranked_beside_the_wording_and_drive_nothing(test: Affinity) -> None:
    responses, families, controls = placed(_written(table(prompts=20, controls=40)))
    told = lineage.test(
        responses,
        families,
        controls,
        ["student", "innocent"],
        [Similarity(), test],
        Claim(named=("a",), alpha=0.05),
    )
    student, innocent = told
    assert student.evidence[0].detector == "fingerprint.similarity"
    beside = {one.suspect: item for one in told for item in one.evidence if item.detector == test.name}
    assert beside["student"].p_value == pytest.approx(1 / 41)
    assert beside["innocent"].p_value is not None
    assert beside["innocent"].p_value > 0.2
    assert innocent.verdict is lineage.Lineage.NOT_SUPPORTED


def test_a_reading_gives_every_answer_a_cosine_with_both_families() -> None:
    responses, families, _ = placed(table(prompts=5, controls=3))
    (reading,) = Layout().readings(responses, families, np.array([0, 1]))
    known = reading.affinities[:, responses.place("student")]
    assert ((known >= 0) & (known <= 1 + 1e-6)).all()
    assert np.isnan(reading.affinities[:, responses.place("teacher-b"), 1]).all()
