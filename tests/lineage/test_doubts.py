"""Answers that must carry no claim, and ordinary ones that may."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import pytest

from kdguard.lineage import responses_of
from kdguard.lineage.doubts import doubts
from tests.lineage.made import table


def told(change: Callable[[pd.DataFrame], pd.DataFrame]) -> str | None:
    """What is said of the student after its answers were changed."""
    frame = table(prompts=12, controls=6).assign(finish_reason="stop")
    frame["prompt"] = "What would you say to number " + frame["prompt_id"].astype(str) + "?"
    mine = frame["model"] == "student"
    frame = pd.concat([frame[~mine], change(frame[mine].copy())], ignore_index=True)
    return doubts(responses_of(frame), frame, ["student"]).get("student")


def test_ordinary_answers_raise_no_doubt() -> None:
    assert told(lambda mine: mine) is None


REFUSALS = (
    "I'm sorry, but I can't help with that.",
    "I am really sorry, I am not able to talk about this topic, whatever the reason may be.",
    "As an AI language model I cannot say.",
    "I cannot assist with questions of this kind.",
    "I must respectfully decline to answer this question, whatever the reason may be.",
)
FRENCH = (
    "Le chat est sur la table et le chien dort sous la chaise pendant que nous mangeons ensemble.",
    "Je ne sais pas si vous avez raison mais il me semble que nous devrions attendre encore un peu.",
    "Les oiseaux chantent dans les arbres du jardin quand le soleil se leve sur la colline voisine.",
)


@pytest.mark.parametrize(
    ("column", "values", "reason"),
    [
        ("response", REFUSALS, "100% of its answers are refusals"),
        ("response", FRENCH, "answers in another language"),
        ("finish_reason", ("length",), "cut off at the limit of tokens"),
        ("response", ("x" * 50 + " " + "ab " * 50,), "end after exactly 201 characters"),
    ],
)
def test_doubtful_answers_are_named(column: str, values: tuple[str, ...], reason: str) -> None:
    said = told(lambda mine: mine.assign(**{column: [values[at % len(values)] for at in range(len(mine))]}))
    assert said is not None
    assert reason in said


def test_repeating_the_prompt_is_no_answer() -> None:
    said = told(lambda mine: mine.assign(response=mine["prompt"].str.upper() + " Yes."))
    assert said is not None
    assert "100% of its answers repeat the prompt" in said


def test_the_same_limit_for_all_is_no_doubt() -> None:
    frame = table(prompts=12, controls=6).assign(finish_reason="length")
    assert doubts(responses_of(frame), frame, ["student"]) == {}


def test_answers_that_all_stop_after_some_words_look_cut_off() -> None:
    frame = table(prompts=12, controls=6)
    frame["response"] += "."
    assert "student" not in doubts(responses_of(frame), frame, ["student"])
    mine = frame["model"] == "student"
    frame.loc[mine, "response"] = frame.loc[mine, "response"].str.split().str[:25].str.join(" ")
    said = doubts(responses_of(frame), frame, ["student"])["student"]
    assert "100% of its answers stop within a sentence at much the same length" in said
