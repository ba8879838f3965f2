"""A teacher for trying things out: a small model trained in seconds on a programmatic corpus."""

from __future__ import annotations

from typing import Any

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.example import Example
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.students.documents import Pair, ask, documents_of_pairs, with_reasoning
from kdguard.distill.students.packing import pack
from kdguard.distill.students.plan import Plan, Slot
from kdguard.distill.students.shapes import named_shape
from kdguard.distill.students.tokenizer import fitted_vocab, special_ids, train_tokenizer
from kdguard.distill.students.training import train
from kdguard.simulate.attack.tables import ToyTeacher

CONTEXT = 1024
"""Tokens of prompt and answer; longer than what it is trained on, so that few prompts are refused."""
_ROWS, _LENGTH = 16, 128


def train_toy(table: ToyTeacher) -> tuple[Any, Any]:
    """Train a toy teacher; the same table gives the same weights.

    Returns:
        A causal language model and its tokenizer.
    """
    found = examples(world_of(table.world), table.examples, seed=table.seed, kinds=table.tasks)
    pairs = pairs_of(found)
    texts = [text for pair in pairs for text in (pair.turns[-1]["content"], pair.answer)]
    tokenizer = train_tokenizer(texts, table.vocabulary, context=CONTEXT)
    shape = named_shape(table.shape, vocab=fitted_vocab(tokenizer), context=CONTEXT)
    data = pack(documents_of_pairs(pairs, tokenizer), _LENGTH)
    slot = Slot(name="toy", data=data, seed=table.seed, learning_rate=1e-2)
    fleet = train(shape, slot, Plan(steps=table.steps, rows=_ROWS, report_every=table.steps))
    return fleet.model(0, **special_ids(tokenizer)), tokenizer


def pairs_of(found: list[Example], source: str = "corpus") -> list[Pair]:
    """Examples as conversations to learn, reasoning in front of the answer."""
    return [Pair(ask(one.prompt), with_reasoning(one.rationale, one.response), source) for one in found]
