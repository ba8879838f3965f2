"""A suspect that answered some of the prompts is ranked on these alone, so that few answers do not make it extreme."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from kdguard import lineage
from kdguard.detectors.fingerprint import Similarity
from kdguard.lineage import Claim, Controls, Families, Lineage, LineageVerdict, Responses
from kdguard.lineage.contrast import ends_of_looks
from kdguard.lineage.protocol import Reading
from tests.lineage.made import families, placed, table

PROMPTS, CONTROLS, INNOCENTS = 60, 120, 150


@dataclass(frozen=True)
class Noise:
    """A test to which all models are alike, answer by answer."""

    name: ClassVar[str] = "noise"
    version: ClassVar[str] = "1"
    for_much_imitated: ClassVar[bool] = False
    contrasted: ClassVar[bool] = True
    summary: ClassVar[str] = "as much noise as"

    def readings(
        self, responses: Responses, families: Families, wanted: npt.NDArray[np.int64]
    ) -> Iterator[Reading]:
        """The same normal noise for everybody, where there is an answer."""
        drawn = np.random.default_rng(11).normal(size=(*responses.answered.shape, len(families)))
        ranks = np.ones((len(responses.models), len(families)), np.bool_)
        yield Reading(np.where(responses.answered[:, :, None], drawn, np.nan), ranks)


def judged(answered_share: float) -> tuple[LineageVerdict, ...]:
    """Verdicts on innocents that answered some of the prompts, each others than the next."""
    rng = np.random.default_rng(3)
    names = [f"control-{at:03d}" for at in range(CONTROLS)] + [
        f"innocent-{at:03d}" for at in range(INNOCENTS)
    ]
    rows = pd.DataFrame(
        [(name, prompt) for name in ["teacher-a", "teacher-b", *names] for prompt in range(PROMPTS)],
        columns=["model", "prompt_id"],
    ).assign(response="six words that carry no meaning")
    rows["response"] += " " + rows["prompt_id"].astype(str) + rows["model"]
    kept = ~rows["model"].str.startswith("innocent") | (rng.random(len(rows)) < answered_share)
    responses = lineage.responses_of(rows[kept])
    found = lineage.place_families(families(), responses)
    allowed = np.array([[name.startswith("control") for name in responses.models]] * 2)
    controls = Controls(allowed, np.ones(2, np.bool_))
    suspects = [name for name in responses.models if name.startswith("innocent")]
    return lineage.test(responses, found, controls, suspects, [Noise()], Claim(named=("a",), alpha=0.05))


@pytest.mark.parametrize("answered_share", [1.0, 0.3])
def test_innocents_that_answered_few_prompts_stand_out_no_more_often(answered_share: float) -> None:
    """Their share at .05 is Beta(6, 115) over tables: .03 to .1; above .12 in less than one table of 1,000."""
    verdicts = judged(answered_share)
    by_stopping = np.array([one.p_value for one in verdicts], np.float64)
    over_all = np.array([one.evidence[0].p_value for one in verdicts], np.float64)
    assert len(verdicts) == INNOCENTS
    assert np.mean(by_stopping <= 0.05) <= 0.12
    assert np.mean(over_all <= 0.05) <= 0.12


def test_queries_are_prompts_that_the_suspect_answered() -> None:
    assert max(one.queries for one in judged(0.3)) < PROMPTS / 2


def test_a_student_is_found_on_the_prompts_it_answered() -> None:
    frame = table()
    some = frame[(frame["model"] != "student") | (frame["prompt_id"] % 3 == 0)]
    responses, found, controls = placed(some)
    claim = Claim(named=("a",))
    one = lineage.test(responses, found, controls, ["student"], [Similarity()], claim)[0]
    assert one.verdict is Lineage.SUPPORTED
    assert one.queries == 10
    assert one.controls == CONTROLS


def test_a_control_that_answered_hardly_any_of_the_suspects_prompts_is_left_out() -> None:
    frame = table()
    few = (frame["model"] == "control-000") & (frame["prompt_id"] > 10)
    responses, found, controls = placed(frame[~few])
    one = lineage.test(responses, found, controls, ["student"], [Similarity()], Claim(named=("a",)))[0]
    assert one.controls == CONTROLS - 1


def test_looks_are_at_answers_and_later_gaps_move_no_earlier_look() -> None:
    heard = np.ones(60, np.bool_)
    assert ends_of_looks(heard) == (10, 20, 40, 60)
    heard[[2, 15, 16]] = False
    assert ends_of_looks(heard) == (11, 23, 43, 60)
    heard[30:] = np.arange(30) % 2
    assert ends_of_looks(heard)[:2] == (11, 23)
    assert ends_of_looks(heard[:5] & False) == (5,)
