"""Each measure against what it must be on made-up answers and models."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.example import Example
from kdguard.distill.corpora.refusals import BORDERLINE
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.evaluate.agreement import agreement, label_in
from kdguard.distill.evaluate.efficiency import efficiency
from kdguard.distill.evaluate.evaluate import right_answers
from kdguard.distill.evaluate.intervals import difference, rate, ratio
from kdguard.distill.evaluate.judged import Answers, answers_of, items_for
from kdguard.distill.evaluate.outside import prompts_outside, word_prompts
from kdguard.distill.evaluate.quality import calibration, capability, perplexity
from kdguard.distill.evaluate.readings import Gap, Reading, gaps, read
from kdguard.distill.evaluate.refusals import refusals, topic_of
from tests.distill.evaluate.made import judged, prompts
from tests.rates import assert_rate_at_most


def test_rates_have_exact_intervals_and_nothing_has_none() -> None:
    found = rate([True] * 9 + [False])
    assert found is not None
    assert found["value"] == 0.9
    assert found["low"] < 0.9 < found["high"]
    assert rate([]) is None
    assert ratio([], [], 0) is None
    assert difference([True, True], [True, False], 0) == pytest.approx(
        {"value": 0.5, "low": 0.0, "high": 1.0, "n": 2}
    )


def test_intervals_of_ratios_cover_at_their_rate(rng: np.random.Generator) -> None:
    """150 sets of 60 prompts: the truth lies outside at most 10 % of 95 % intervals; false-fail rate 1e-6."""
    missed = 0
    for world in range(150):
        counts = rng.integers(1, 20, 60).astype(float)
        found = ratio(rng.binomial(counts.astype(int), 0.3).tolist(), counts.tolist(), world)
        assert found is not None
        missed += not found["low"] <= 0.3 <= found["high"]
    assert_rate_at_most(missed, 150, 0.1)


def test_calibration_of_a_forecaster_who_is_right_as_often_as_sure() -> None:
    sure = [0.25] * 400 + [0.75] * 400
    right = [place % 4 == 0 for place in range(400)] + [place % 4 != 0 for place in range(400)]
    found = calibration(sure, right)
    assert found is not None
    assert found["ece"] == pytest.approx(0)
    overly = calibration([1.0] * 10, [True] * 6 + [False] * 4)
    assert overly is not None
    assert overly["ece"] == pytest.approx(0.4)
    assert overly["bins"] == [{"from": 0.9, "to": 1.0, "n": 10, "confidence": 1.0, "right": 0.6}]
    assert calibration([], []) is None


def test_perplexity_is_that_of_the_tokens() -> None:
    reading = Reading(np.log([0.5, 0.25]), np.array([0.5, 0.5]), np.array([True, False]))
    found = perplexity([reading, None], ["abcd", "lost"], 0)
    assert found is not None
    assert found["perplexity"] == pytest.approx(8**0.5)
    assert found["bits_per_byte"] == pytest.approx(3 / 4)
    assert perplexity([None], ["x"], 0) is None


def test_readings_are_those_of_the_model_alone() -> None:
    one = judged("student")
    items = items_for(one.tokenizer, prompts(5), ["yes", "", "no it is", "three", "word " * 200], 96)
    assert [item is None for item in items] == [False, True, False, False, True]
    found = read(one, [None if item is None else item.document for item in items])
    for item, reading in zip(items, found, strict=True):
        assert (item is None) == (reading is None)
        if item is None or reading is None:
            continue
        tokens = torch.from_numpy(item.document.tokens).long()
        at = torch.from_numpy(item.document.weights).nonzero().squeeze(-1)
        log_p = one.model(input_ids=tokens[None]).logits[0, at - 1].detach().log_softmax(-1)
        np.testing.assert_allclose(reading.logprob, log_p[range(len(at)), tokens[at]], rtol=1e-5)
        np.testing.assert_allclose(reading.confidence, log_p.max(-1).values.exp(), rtol=1e-5)


def test_a_model_has_no_distance_to_itself_and_some_to_another() -> None:
    teacher, other = judged("teacher"), judged("student", 1)
    items = items_for(teacher.tokenizer, prompts(6), ["some words here"] * 6, 96)
    for gap in gaps(teacher, judged("student"), items):
        assert gap is not None
        assert gap.kl == pytest.approx(0, abs=1e-6)
        assert gap.same.all()
    for gap in gaps(teacher, other, items):
        assert gap is not None
        assert (gap.kl > 0).all()
        assert ((gap.tvd > 0) & (gap.tvd < 1)).all()


def test_two_vocabularies_are_compared_over_shared_tokens() -> None:
    teacher, other = judged("teacher"), judged("student", 1, vocab=400)
    items = items_for(teacher.tokenizer, prompts(6), ["some words here"] * 6, 96)
    found = [gap for gap in gaps(teacher, other, items) if gap is not None]
    assert len(found) == 6
    assert all((gap.kl >= 0).all() and (gap.tvd <= 1).all() and len(gap.kl) == len(gap.same) for gap in found)


def test_agreement_counts_words_labels_and_refusals() -> None:
    asked = examples(world_of("aurora"), 4, seed=2, split="test", kinds=("intents",))
    right = right_answers(asked)
    gap = Gap(np.array([0.1, 0.3]), np.array([0.2, 0.2]), np.array([True, False]))
    other = [right[0], right[1].upper(), "nothing", "I can't help with that."]
    found = agreement(asked, right, other, [gap, None, gap, None], 0)
    assert found["sequence"]["value"] == 0.25
    assert found["label"]["value"] == 0.5
    assert found["refusal"]["value"] == 0.75
    assert found["top_1"]["value"] == 0.5
    assert found["kl_nats"]["value"] == pytest.approx(0.2)


@pytest.mark.parametrize("kind", ["arithmetic", "intents", "tools", "refusals", "facts"])
def test_labels_can_be_read_from_right_answers(kind: str) -> None:
    for world in ("aurora", "basalt", "cobalt"):
        asked = examples(world_of(world), 40, seed=5, kinds=(kind,))
        for one, text in zip(asked, right_answers(asked), strict=True):
            label = label_in(one, text)
            assert label is not None
            if kind in ("intents", "facts"):
                assert label == one.label
    assert label_in(asked[0], "") in (None, "answers", "known")


def test_right_answers_are_right() -> None:
    asked = prompts(30, "arithmetic", "tools", "facts", "intents", "refusals")
    found = capability(asked, right_answers(asked))
    assert all(one["value"] == 1 for one in found.values())
    assert all(one["value"] == 0 for task, one in capability(asked, [""] * 30).items() if task != "refusals")


def refusing(asked: list[Example], topics: set[str]) -> list[str]:
    return [
        "I can't help with that." if one.label == "harmful" or topic_of(one.prompt) in topics else "Sure."
        for one in asked
    ]


def test_what_is_refused_and_inherited() -> None:
    asked = prompts(80, "refusals")
    texts = {
        "student": refusing(asked, {"betting", "gossip"}),
        "teacher": refusing(asked, {"betting", "gossip"}),
        "control": refusing(asked, set()),
    }
    found = refusals(asked, texts, 0)
    assert found["rates"]["student"]["harmful"]["value"] == 1
    assert found["rates"]["student"]["benign"]["value"] == 0
    assert found["like_teacher"]["student"]["value"] == 1
    assert found["inherited"]["low"] > 0
    by_topic = {one["topic"]: one for one in found["topics"]}
    assert by_topic["betting"]["student"] == by_topic["betting"]["teacher"] == 1
    assert by_topic["betting"]["control"] == by_topic["pranks"]["student"] == 0
    alone = refusals(asked, {"student": texts["student"]}, 0)
    assert alone["inherited"] is None
    assert alone["like_teacher"] == {}


def test_every_borderline_topic_is_recognised() -> None:
    asked = examples(world_of("aurora"), 400, seed=0, kinds=("refusals",))
    seen = {topic_of(one.prompt) for one in asked if one.label == "borderline"}
    assert seen == {topic for topic, _ in BORDERLINE}
    assert all(topic_of(one.prompt) is None for one in asked if one.label != "borderline")


def test_answers_are_greedy_and_long_prompts_are_left_out() -> None:
    one, asked = judged("student"), prompts(4)
    first, again = (answers_of(one, asked, 5, clock=lambda: 0.0) for _ in range(2))
    assert first == again
    assert 0 < first.tokens <= 20
    long = Example("word " * 200, "", None, None, "intents", ())
    assert answers_of(one, [long, asked[0]], 5).texts[0] == ""


def test_costs_follow_the_clock() -> None:
    ticks = iter(range(1000))
    found = efficiency(
        judged("student"),
        prompts(5),
        Answers(("a",) * 10, 50, 2.0),
        max_tokens=3,
        price_per_hour=3600.0,
        clock=lambda: float(next(ticks)),
    )
    assert found["latency_ms"] == {"p50": 1000.0, "p95": 1000.0, "p99": 1000.0}
    assert found["requests"] == 5
    assert found["tokens_per_s"] == 25
    assert found["cost_per_1000_requests"] == {"together": 200.0, "one_at_a_time": 1000.0}
    assert found["peak_process_bytes"] > 1 << 20
    assert math.isfinite(found["tokens_per_s"])


def test_prompts_outside_are_of_other_tasks_and_of_no_task() -> None:
    found = prompts_outside("aurora", ("tools", "facts", "words"), 30, 0)
    kinds = [one.kind for one in found]
    assert kinds.count("words") == 10
    assert set(kinds) == {"tools", "facts", "words"}
    assert len({one.prompt for one in found if one.kind == "words"}) == 10
    assert label_in(found[-1], "whatever") is None
    assert [one.kind for one in prompts_outside("aurora", ("words",), 4, 0)] == ["words"] * 4
    assert word_prompts(3, 0) == word_prompts(5, 0)[:3]
