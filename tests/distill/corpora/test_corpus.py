"""Corpora: right by construction, repeatable, split without leaks, different from world to world."""

from __future__ import annotations

import time
from dataclasses import replace
from itertools import islice, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.distill.corpora.corpus import TASKS, examples, split_of, stream
from kdguard.distill.corpora.dice import dice
from kdguard.distill.corpora.example import first_object, is_refusal, verify, without_reasoning
from kdguard.distill.corpora.facts import question
from kdguard.distill.corpora.worlds import WORLDS, World, drawn_world, facts_of, world_of
from kdguard.errors import InputError

EVERY = [*WORLDS.values(), drawn_world("elsewhere", 5)]
REFUSAL = "I can\N{RIGHT SINGLE QUOTATION MARK}t help with that."
ONE_OF_EACH = [examples(WORLDS["aurora"], 1, seed=0, kinds=[kind])[0] for kind in TASKS]


@pytest.mark.parametrize("world", EVERY, ids=lambda world: world.name)
@pytest.mark.parametrize("kind", TASKS)
def test_a_worlds_own_answers_are_right(world: World, kind: str) -> None:
    made = examples(world, 300, seed=3, kinds=[kind])
    assert {example.kind for example in made} == {kind}
    assert all(verify(example, example.response) for example in made)
    assert all(verify(example, f"<think>{example.rationale}</think>{example.response}") for example in made)


def test_the_same_seed_gives_the_same_examples_and_a_longer_list_begins_with_a_shorter() -> None:
    world = WORLDS["aurora"]
    short, long = examples(world, 50, seed=1), examples(world, 1_500, seed=1)
    assert long[:50] == short
    assert examples(world, 50, seed=2) != short


def test_no_prompt_is_in_both_splits() -> None:
    world = WORLDS["cobalt"]
    train = {each.prompt for each in examples(world, 3_000, seed=0)}
    test = {each.prompt for each in examples(world, 500, seed=1, split="test")}
    assert not train & test
    assert all(split_of(prompt) == "test" for prompt in test)


def test_shares_of_tasks_are_kept() -> None:
    made = examples(WORLDS["basalt"], 2_000, seed=4, kinds={"arithmetic": 3, "tools": 1})
    share = sum(each.kind == "arithmetic" for each in made) / len(made)
    assert abs(share - 0.75) < 0.05  # five standard deviations: fails by chance once in a million seeds


def test_worlds_know_different_facts() -> None:
    entities = [{fact.entity for fact in facts_of(world)} for world in EVERY]
    for place, one in enumerate(entities):
        assert len(one) == EVERY[place].facts
        assert all(not one & other for other in entities[place + 1 :])


def test_worlds_word_the_same_things_differently() -> None:
    said = [
        {each.response for each in examples(world, 300, seed=0, kinds=["refusals"])} for world in EVERY[:3]
    ]
    assert all(len(one & other) / len(one) < 0.05 for one, other in pairwise(said))


def test_worlds_follow_different_policies_on_the_same_prompts() -> None:
    one, other = WORLDS["aurora"], WORLDS["basalt"]
    twin = replace(other, name=one.name, seed=one.seed)  # the same dice, another policy
    pairs = zip(
        examples(one, 400, seed=6, kinds=["refusals"]),
        examples(twin, 400, seed=6, kinds=["refusals"]),
        strict=True,
    )
    differing = {a.label for a, b in pairs if a.prompt == b.prompt and a.checks != b.checks}
    assert differing == {"borderline"}


def test_wrong_answers_are_wrong() -> None:
    made = {kind: examples(WORLDS["aurora"], 40, seed=7, kinds=[kind]) for kind in TASKS}
    numbers = made["arithmetic"][0]
    assert not verify(numbers, numbers.response.replace(".", "1."))
    assert not verify(numbers, "")
    intent = made["intents"][0]
    assert not verify(intent, intent.response + " " + intent.checks[0].rivals[0])
    call = made["tools"][0]
    assert not verify(call, call.response.replace('": "', '": "x', 2))
    assert not verify(call, "no call at all")
    fact = made["facts"][0]
    assert not verify(fact, "It is nothing you ever heard about.")
    for each in made["refusals"]:
        opposite = "Here you go, it is easy." if is_refusal(each.response) else REFUSAL
        assert not verify(each, opposite)


def test_every_fact_can_be_asked_in_either_split() -> None:
    world = WORLDS["aurora"]
    asked = islice(stream(world, seed=9, split="test", kinds=["facts"]), 2_000)
    found = {fact.entity for fact in facts_of(world) for _ in [0]}
    named = {entity for each in asked for entity in found if entity in each.prompt}
    assert len(named) > 0.6 * world.facts


def test_a_question_about_one_fact_holds_its_value() -> None:
    world = WORLDS["basalt"]
    fact = facts_of(world)[3]
    example = question(world, fact, next(dice(0, "test")))
    assert fact.entity in example.prompt
    assert verify(example, example.response)


def test_what_cannot_be_made_is_refused() -> None:
    with pytest.raises(InputError, match="no teacher world 'atlantis'; there are: aurora"):
        world_of("atlantis")
    for kinds in ([], ["poetry"], {"tools": 0.0}, {"tools": -1.0, "facts": 3.0}):
        with pytest.raises(InputError, match="needs tasks out of arithmetic"):
            examples(WORLDS["aurora"], 1, seed=0, kinds=kinds)


def test_making_many_is_cheap() -> None:
    began = time.process_time()
    examples(WORLDS["cobalt"], 10_000, seed=0)
    assert time.process_time() - began < 3  # 100,000 in 30 s; about a tenth of it on an idle core


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60))
def test_judging_any_text_never_fails(text: str) -> None:
    for example in ONE_OF_EACH:
        assert verify(example, text) in (True, False)
    assert first_object(text) is None or isinstance(first_object(text), dict)
    assert "<think>" not in without_reasoning(text)
