"""A model under training writes: prompts of items continued by the decoding engine, and what comes out as documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from kdguard.distill.procedures.part import Item
from kdguard.distill.students.data import Document
from kdguard.distill.teachers.generation import Engine, Request
from kdguard.distill.teachers.generation.request import join
from kdguard.distill.teachers.local import end_ids
from kdguard.distill.teachers.token_bytes import token_bytes
from kdguard.errors import TrainingError

ROWS = 32


class Writer:
    """Continues prompts with a model whose weights change between calls.

    Args:
        model: A causal language model.
        tokenizer: Its tokenizer, which must have an end token.
        length: Most tokens of prompt and answer.
        max_tokens: Most tokens of an answer, its end included.
        temperature: Above 0.

    Raises:
        TrainingError: No end token.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, length: int, max_tokens: int, temperature: float = 1.0
    ) -> None:
        if tokenizer.eos_token_id is None:
            raise TrainingError("a student that writes needs a tokenizer with an end token")
        self.end, self.max_tokens, self.temperature = int(tokenizer.eos_token_id), max_tokens, temperature
        self.length = min(length, int(model.config.max_position_embeddings))
        self.engine = Engine(
            model,
            token_bytes=token_bytes(tokenizer),
            ends=end_ids(model, tokenizer),
            rows=ROWS,
            context=self.length,
        )

    def write(
        self, prompts: Sequence[Sequence[int]], seed: int, *, max_tokens: int | None = None
    ) -> list[list[int]]:
        """Continue every prompt; the end token is part of an answer that came to its end.

        Args:
            prompts: Token ids, each shorter than `length`.
            seed: The same seed and weights give the same answers.
            max_tokens: Instead of the writer's.
        """
        self.engine.refresh()
        most = max_tokens or self.max_tokens
        for place, prompt in enumerate(prompts):
            self.engine.submit(
                Request(
                    key=place,
                    prompt_ids=tuple(prompt),
                    max_tokens=most,
                    temperature=self.temperature,
                    seed=seed,
                    stream=place,
                )
            )
        pieces: dict[int, list[Any]] = {place: [] for place in range(len(prompts))}
        while self.engine.unfinished:
            for piece in self.engine.advance():
                pieces[int(str(piece.key))].append(piece)
        return [self._ids(join(parts), most) for parts in pieces.values()]

    def _ids(self, done: Any, most: int) -> list[int]:
        ids: list[int] = done.token_ids.tolist()
        return [*ids, self.end] if done.finish_reason == "stop" and len(ids) < most else ids


def prompt_of(item: Item) -> list[int]:
    """Tokens before the first taught one: at least one."""
    first = int(np.flatnonzero(item.document.weights[1:])[0]) + 1
    return item.document.tokens[:first].tolist()


def with_answer(item: Item, prompt: Sequence[int], answer: Sequence[int], source: str) -> Document:
    """The item's document with another answer, all of it taught."""
    weights = np.zeros(len(prompt) + len(answer), np.float32)
    weights[len(prompt) :] = 1
    tokens = np.array([*prompt, *answer], np.int32)
    return replace(item.document, tokens=tokens, weights=weights, source=source, soft=None, soft_at=None)


def roomy(items: Sequence[Item], length: int) -> list[Item]:
    """Items whose prompts leave room to write.

    Raises:
        TrainingError: None does.
    """
    kept = [item for item in items if len(prompt_of(item)) < length - 1]
    if not kept:
        raise TrainingError(
            f"every prompt fills the {length} tokens of a row: nothing can be written after it"
        )
    return kept


def seed_at(seed: int, step: int) -> int:
    """Seed of the draws of one step."""
    words = np.random.SeedSequence([seed & 0xFFFFFFFF, step]).generate_state(2)
    return int(words[0]) << 20 ^ int(words[1])
