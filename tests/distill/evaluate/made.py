"""Models under evaluation, tiny and untrained, and prompts for them."""

from __future__ import annotations

from typing import Any

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.example import Example
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.evaluate.judged import Judged
from tests.distill.procedures.made import model, tokenizer


def judged(role: str, seed: int = 0, vocab: int = 350, **how: Any) -> Judged:
    return Judged(role, role, model(seed, vocab=vocab, **how), tokenizer(vocab))


def prompts(count: int = 12, *kinds: str) -> list[Example]:
    return examples(world_of("aurora"), count, seed=2, split="test", kinds=kinds or ("intents", "refusals"))
