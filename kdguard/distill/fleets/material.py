"""What each model learns from: a corpus of its own, answers of those it asked, and how much of which."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.example import Example
from kdguard.distill.corpora.worlds import World, drawn_world, world_of
from kdguard.distill.fleets.recipe import Recipe
from kdguard.distill.fleets.roster import Member
from kdguard.distill.students.data import Document, TrainingData
from kdguard.distill.students.documents import (
    Pair,
    ask,
    documents_of_pairs,
    documents_of_transcripts,
    with_reasoning,
)
from kdguard.distill.students.packing import pack_for
from kdguard.distill.students.plan import Mix
from kdguard.distill.students.tokenizer import train_tokenizer
from kdguard.distill.transcripts.reader import Transcripts
from kdguard.errors import TrainingError

SOFT = Mix(text=0.0, soft=1.0)
_TOKENIZER_WORLDS, _TOKENIZER_EXAMPLES = 12, 150
_LEAST_TOKENS = 8
"""Supervised tokens of an example on average: fewer than any world's."""


def teacher_world(recipe: Recipe, name: str) -> World:
    """The world of a teacher, with as many facts as the recipe wants."""
    return replace(world_of(name), facts=recipe.facts)


def own_world(recipe: Recipe, number: int) -> World:
    """A drawn world, told apart by its number."""
    return drawn_world(f"world-{number}", recipe.seed + number, facts=recipe.facts)


def make_tokenizer(recipe: Recipe) -> Any:
    """One tokenizer for all models, trained on the worlds of nobody."""
    found = [
        example
        for number in range(_TOKENIZER_WORLDS)
        for example in examples(own_world(recipe, number), _TOKENIZER_EXAMPLES, seed=recipe.seed)
    ]
    texts = [text for pair in pairs_of(found) for text in (pair.turns[-1]["content"], pair.answer)]
    return train_tokenizer(texts, recipe.vocabulary, context=recipe.context)


def pairs_of(found: Sequence[Example], source: str = "corpus") -> list[Pair]:
    """Examples as conversations to learn, reasoning in front of the answer."""
    return [Pair(ask(one.prompt), with_reasoning(one.rationale, one.response), source) for one in found]


def origin_documents(member: Member, recipe: Recipe, tokenizer: Any) -> list[Document]:
    """What a teacher or a base learns: its world, or the worlds of nobody."""
    count = recipe.origins.examples
    if member.role == "teacher":
        return documents_of_pairs(
            pairs_of(examples(teacher_world(recipe, member.name), count, seed=member.seed)), tokenizer
        )
    first = member.seed % _TOKENIZER_WORLDS
    numbers = [(first + step) % _TOKENIZER_WORLDS for step in range(recipe.origins.base_worlds)]
    share = count // len(numbers)
    found = [
        one for number in numbers for one in examples(own_world(recipe, number), share, seed=member.seed)
    ]
    return documents_of_pairs(pairs_of(found), tokenizer)


def documents_of(
    member: Member, recipe: Recipe, tokenizer: Any, answers: Mapping[str, Transcripts]
) -> list[Document]:
    """What a student, control or descendant learns.

    Args:
        member: Who.
        recipe: Its recipe.
        tokenizer: Of all models.
        answers: Of every model it asked, by name; for `truth` those of the teacher whose prompts it shares.

    Returns:
        Documents whose supervised tokens come from others in the share of its dose, up to one document.
    """
    rng = np.random.default_rng([member.seed, 2])
    budget = recipe.students.tokens
    made: list[Document] = []
    for name in member.asked:
        taken = _taken(member, recipe, tokenizer, answers[name], name)
        order = rng.permutation(len(taken)).tolist()
        made += _up_to([taken[at] for at in order], budget * member.dose / len(member.asked), name)
    if member.world is not None:
        made += _own(member, recipe, tokenizer, budget * (1 - member.dose))
    return made


def packed(member: Member, documents: Sequence[Document], length: int) -> tuple[TrainingData, Mix]:
    """Rows to train on and the objective: soft targets where a route has them, one-hot ones beside them."""
    mix = SOFT if any(document.soft is not None for document in documents) else Mix()
    return pack_for(mix, documents, length), mix


def _taken(member: Member, recipe: Recipe, tokenizer: Any, told: Transcripts, name: str) -> list[Document]:
    """All answers of one model to the member's account, by the member's route."""

    def mine(row: Mapping[str, Any]) -> bool:
        return row["request_id"].split("-")[0] == member.account

    if member.route == "truth":
        truth = {one.prompt: one for one in asked_examples(recipe, name)}
        prompts = [row["prompt"] for row in _rows(told) if mine(row)]
        return documents_of_pairs(pairs_of([truth[prompt] for prompt in prompts], name), tokenizer)
    by_route: dict[str, Callable[[], list[Document]]] = {
        "text": lambda: documents_of_pairs(
            [Pair(ask(row["prompt"]), row["response"], name) for row in _rows(told) if mine(row)], tokenizer
        ),
        "rationale": lambda: documents_of_transcripts(told, tokenizer, keep=mine),
        "topk": lambda: documents_of_transcripts(told, tokenizer, soft="topk", keep=mine),
    }
    if member.route == "mixed":
        ways = [way() for way in by_route.values()]
        return [ways[place % len(ways)][place] for place in range(min(map(len, ways)))]
    if member.route is None:
        return []
    return by_route[member.route]()


def _rows(told: Transcripts) -> list[dict[str, Any]]:
    rows = told.exchanges.select(["request_id", "prompt", "response", "status"]).to_pylist()
    return [row for row in rows if row["status"] == 200 and row["response"] is not None]


def _own(member: Member, recipe: Recipe, tokenizer: Any, budget: float) -> list[Document]:
    assert member.world is not None
    count = round(budget / _LEAST_TOKENS) + 1
    found = examples(own_world(recipe, member.world), count, seed=member.seed)
    return _up_to(documents_of_pairs(pairs_of(found), tokenizer), budget, f"world-{member.world}")


def _up_to(documents: Sequence[Document], tokens: float, source: str) -> list[Document]:
    """The first documents that hold so many supervised tokens.

    Raises:
        TrainingError: All of them hold fewer.
    """
    sizes = np.cumsum([np.count_nonzero(document.weights[1:]) for document in documents])
    if not len(sizes) or sizes[-1] < tokens:
        held = int(sizes[-1]) if len(sizes) else 0
        raise TrainingError(
            f"'{source}' gives {held} supervised tokens, {tokens:.0f} are wanted; ask for more"
        )
    return list(documents[: int(np.searchsorted(sizes, tokens)) + 1])


def asked_examples(recipe: Recipe, family: str, *, seed: int = 0) -> list[Example]:
    """Examples whose prompts an attack asks: of the teacher's own world, each prompt once."""
    wanted = recipe.harvest.accounts * recipe.harvest.served + recipe.harvest.withheld
    return list(_distinct(recipe, family, wanted, seed))


def _distinct(recipe: Recipe, family: str, wanted: int, seed: int) -> Iterator[Example]:
    seen: dict[str, Example] = {}
    drawn = examples(teacher_world(recipe, family), 3 * wanted, seed=recipe.seed + 7 + seed)
    for one in drawn:
        if one.prompt not in seen and len(seen) < wanted:
            seen[one.prompt] = one
            yield one
