from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.errors import AttackError
from kdguard.simulate.attack.sources.evolved import Evolved, evolve, meta_prompt, novel, rouge_l
from kdguard.simulate.attack.sources.in_domain import InDomain
from kdguard.simulate.attack.sources.near_duplicates import NearDuplicates, one_edit
from kdguard.simulate.attack.sources.persona import Personas
from kdguard.simulate.attack.sources.public import PublicInstructions
from kdguard.simulate.attack.sources.random_text import Excerpts, RandomWords, commonest
from kdguard.simulate.attack.sources.source import PromptSource
from kdguard.simulate.pools import Pools

POOLS = Pools("fit", None, 400)
TASKS = InDomain(tuple(f"Tom has {i} apples and eats two. How many are left?" for i in range(3, 23)))
SOURCES: dict[str, PromptSource] = {
    "in_domain": TASKS,
    "public": PublicInstructions(POOLS),
    "random_words": RandomWords(POOLS),
    "excerpts": Excerpts(POOLS),
    "near_duplicates": NearDuplicates(TASKS),
    "evolved": Evolved(TASKS),
    "personas": Personas(TASKS),
}


@pytest.mark.parametrize("name", SOURCES)
def test_every_source_writes_what_was_asked_for_and_repeats_itself_by_seed(name: str) -> None:
    source = SOURCES[name]
    found = source.draw(37, np.random.default_rng(3))
    assert len(found) == 37
    assert all(isinstance(text, str) and text.strip() for text in found)
    assert source.draw(37, np.random.default_rng(3)) == found
    assert source.draw(37, np.random.default_rng(4)) != found
    assert source.draw(0, np.random.default_rng(3)) == []
    with pytest.raises(AttackError, match="0 prompts or more"):
        source.draw(-1, np.random.default_rng(3))


def test_in_domain_uses_everything_once_first() -> None:
    assert set(TASKS.draw(20, np.random.default_rng(0))) == set(TASKS.prompts)
    with pytest.raises(AttackError, match="at least one prompt"):
        InDomain(())


def test_random_words_are_words_of_the_corpus_in_no_order() -> None:
    known = set(commonest(POOLS.pool("document").texts, 10_000))
    for text in RandomWords(POOLS, shortest=5, longest=9).draw(50, np.random.default_rng(0)):
        words = text.split()
        assert 5 <= len(words) <= 9
        assert known.issuperset(words)
    with pytest.raises(AttackError, match="shortest <= longest"):
        RandomWords(POOLS, shortest=5, longest=3)


def test_excerpts_stand_in_a_document() -> None:
    documents = [" ".join(text.split()) for text in POOLS.pool("document").texts]
    for text in Excerpts(POOLS).draw(10, np.random.default_rng(0)):
        assert any(" ".join(text.split()) in document for document in documents)


@given(st.text(alphabet="abc ", max_size=30), st.integers(0, 1_000))
@settings(max_examples=60, deadline=None)
def test_one_edit_changes_the_words_by_one_edit(text: str, seed: int) -> None:
    before = text.split()
    after = one_edit(text, ["a", "x"], np.random.default_rng(seed)).split()
    assert after != before
    assert abs(len(after) - len(before)) <= 1
    if len(after) == len(before):
        changed = [i for i, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
        assert len(changed) == 1 or (len(changed) == 2 and changed[1] == changed[0] + 1)
    else:
        short, long = sorted((before, after), key=len)
        assert any(long[:i] + long[i + 1 :] == short for i in range(len(long)))


def test_near_duplicates_come_in_families() -> None:
    found = NearDuplicates(TASKS, variants=4).draw(8, np.random.default_rng(0))
    assert {found[0], found[4]} <= set(TASKS.prompts)
    assert all(rouge_l(found[0], text) > 0.8 for text in found[1:4])


def test_evolving_keeps_the_task_and_adds_to_it() -> None:
    rng = np.random.default_rng(0)
    task = 'Sort {"a": 1} by value.'
    for _ in range(40):
        grown = evolve(task, rng)
        assert task in grown
        assert len(grown) > len(task)
    assert all("apples" in text for text in Evolved(TASKS).draw(10, rng))
    assert all("apples" in text for text in Personas(TASKS).draw(10, rng))


def test_rouge_l_by_hand() -> None:
    assert rouge_l("the cat sat on the mat", "The cat sat on the mat.") == 1
    assert rouge_l("a b c d", "a x c y") == pytest.approx(0.5)  # subsequence "a c"
    assert rouge_l("a b", "c d") == 0
    assert rouge_l("", "") == 1


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
@settings(max_examples=80, deadline=None)
def test_rouge_l_agrees_with_dynamic_programming(one: list[str], other: list[str]) -> None:
    table = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1, j + 1] = table[i, j] + 1 if a == b else max(table[i, j + 1], table[i + 1, j])
    total = len(one) + len(other)
    expected = 1.0 if total == 0 else 0.0 if not one or not other else 2 * table[-1, -1] / total
    assert rouge_l(" ".join(one), " ".join(other)) == pytest.approx(expected)


def test_meta_prompts_show_examples_and_ask_for_one_more() -> None:
    pool = [f"Task of kind {i}." for i in range(9)]
    text = meta_prompt(pool, np.random.default_rng(0), examples=3)
    assert sum(one in text for one in pool) == 3
    assert text.endswith("Task 4:")
    assert meta_prompt(pool[:1], np.random.default_rng(0)).endswith("Task 2:")


def test_what_a_model_repeats_is_not_new() -> None:
    pool = ["Name a fruit that floats in water."]
    told = [
        "  Translate good evening into Welsh.",
        "",
        "Name a fruit that floats on water",
        "Translate good evening!",
    ]
    assert novel(told, pool) == ["Translate good evening into Welsh."]
    assert novel(told, pool, likeness=0.8) == [
        "Translate good evening into Welsh.",
        "Translate good evening!",
    ]


def test_real_prompts_are_used_where_there_is_a_folder(data: Path) -> None:
    real = PublicInstructions(Pools("fit", data)).draw(200, np.random.default_rng(0))
    own = set(PublicInstructions(Pools("fit", None)).draw(200, np.random.default_rng(0)))
    assert not own.intersection(real)
