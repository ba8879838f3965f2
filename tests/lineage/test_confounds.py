"""Other explanations are looked for, and what would change a verdict is told in numbers."""

from __future__ import annotations

import json

import pytest

from kdguard import lineage
from kdguard.detectors.fingerprint import Similarity
from kdguard.lineage import Claim, Families, LineageVerdict, Responses
from kdguard.lineage.beside import with_overlap
from kdguard.lineage.confounds import confounds, surroundings, what_would_change
from kdguard.lineage.drift import drift
from kdguard.lineage.record import record
from tests.lineage.made import placed, table


def one_verdict(
    suspect: str, words: int | None = None, controls: int = 120
) -> tuple[LineageVerdict, Responses, Families]:
    """A verdict on a suspect whose answers are cut to so many words."""
    frame = table(prompts=12, controls=controls)
    if words is not None:
        mine = frame["model"] == suspect
        frame.loc[mine, "response"] = frame.loc[mine, "response"].str.split().str[:words].str.join(" ")
    responses, found, among = placed(frame)
    (verdict,) = lineage.test(responses, found, among, [suspect], [Similarity()], Claim(named=("a",)))
    return verdict, responses, found


def test_an_unusual_length_weighs_and_a_usual_one_does_not() -> None:
    for words, weighs in ((None, False), (9, True)):
        verdict, responses, found = one_verdict("student", words)
        around = surroundings(responses, found, 0.01, doubts={})
        length = confounds(verdict, around, told_apart=True)[0]
        assert (length.name, length.checked, length.weighs) == ("length of answers", True, weighs)
        assert ("Hardly a control" in length.finding) == weighs


def test_what_was_not_looked_at_says_so() -> None:
    verdict, responses, found = one_verdict("innocent")
    told = {
        one.name: one
        for one in confounds(verdict, surroundings(responses, found, 0.01, doubts={}), told_apart=False)
    }
    assert [name for name, one in told.items() if not one.checked] == [
        "same vendor",
        "same base model",
        "the teacher's answers by another way",
        "decoding",
        "one model all along",
    ]


def test_a_changed_endpoint_and_doubtful_answers_weigh() -> None:
    verdict, responses, found = one_verdict("innocent")
    changed = drift(["x"] * 10, ["x"] * 10, names=["one", "two"])
    around = surroundings(
        responses, found, 0.01, doubts={"innocent": "all refusals"}, drift=changed, manner="512 tokens"
    )
    told = {one.name: one for one in confounds(verdict, around, told_apart=True)}
    assert told["one model all along"].weighs
    assert told["answers that carry nothing"].weighs
    assert "512 tokens" in told["decoding"].finding


@pytest.mark.parametrize(
    ("suspect", "controls", "told"),
    [
        ("student", 120, "1 more of the controls standing as high (now 0 of 120; 0 may)"),
        ("student", 30, "69 more controls without a link to the family: with 30 no p can be below 0.032"),
        ("innocent", 120, "controls reach it, at most 0 may"),
    ],
)
def test_what_would_change_a_verdict_is_a_number(suspect: str, controls: int, told: str) -> None:
    verdict, _, _ = one_verdict(suspect, controls=controls)
    assert told in what_would_change(verdict, 0.01)[0]


def test_a_record_is_plain_json() -> None:
    verdict, responses, found = one_verdict("student")
    verdicts, overlaps = with_overlap([verdict], responses, found)
    assert verdicts[0].evidence[-1].detector == "lineage.overlap"
    told = json.loads(json.dumps(record(verdicts, 0.01, overlaps, {}, {}, {"command": "x"}), allow_nan=False))
    (one,) = told["verdicts"]
    assert len(one["course"]["scores"]) == len(one["course"]["controls"]) == 120
    assert one["overlap"]["prompts"] == 12


def test_answers_that_stop_within_a_sentence_at_one_length_are_noted() -> None:
    """Every other model ends its answers; cut ones differ in words, as tokens do."""
    frame = table(prompts=12, controls=20)
    frame["response"] += " " + frame["response"] + "."
    mine = frame["model"] == "student"
    cut = [" ".join(text.split()[: 60 + 7 * (at % 3)]) for at, text in enumerate(frame.loc[mine, "response"])]
    for shortened in (False, True):
        if shortened:
            frame.loc[mine, "response"] = cut
        responses, found, among = placed(frame)
        (verdict,) = lineage.test(responses, found, among, ["student"], [Similarity()], Claim(named=("a",)))
        around = surroundings(responses, found, 0.01, doubts={})
        told = {one.name: one for one in confounds(verdict, around, told_apart=True)}["answers cut off"]
        assert (told.checked, told.weighs) == (True, shortened)
        assert ("a limit of tokens may stand behind" in told.finding) == shortened
