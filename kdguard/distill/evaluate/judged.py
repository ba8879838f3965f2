"""A model under evaluation, and what it says to prompts: greedy answers as tokens and text."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from kdguard.distill.corpora.example import Example
from kdguard.distill.procedures.part import Item
from kdguard.distill.procedures.writing import Writer
from kdguard.distill.students.documents import Pair, ask, documents_of_pairs
from kdguard.distill.students.tokenizer import conversation_ids

Clock = Callable[[], float]


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One model.

    Attributes:
        role: "student", "teacher" or "control".
        name: As reports write it.
        model: A causal language model, its dropout off.
        tokenizer: Its tokenizer.
    """

    role: str
    name: str
    model: Any
    tokenizer: Any

    def record(self) -> dict[str, Any]:
        """What it is, as plain values."""
        parameters = list(self.model.parameters())
        return {
            "name": self.name,
            "parameters": sum(one.numel() for one in parameters),
            "parameter_bytes": sum(one.numel() * one.element_size() for one in parameters),
            "vocabulary": len(self.tokenizer),
        }


@dataclass(frozen=True, slots=True)
class Answers:
    """What one model says to a list of prompts.

    Attributes:
        texts: One a prompt; empty where the prompt did not fit its context.
        tokens: Tokens in all, ends included.
        seconds: For all of them together.
    """

    texts: tuple[str, ...]
    tokens: int
    seconds: float


def answers_of(
    judged: Judged, examples: Sequence[Example], max_tokens: int, clock: Clock = time.perf_counter
) -> Answers:
    """Greedy answers, decoded together.

    Args:
        judged: Who is asked.
        examples: Whose prompts.
        max_tokens: Most tokens of an answer.
        clock: Seconds.
    """
    prompts = conversation_ids(judged.tokenizer, [ask(one.prompt) for one in examples])
    writer = writer_of(judged, max_tokens)
    fitting = [place for place, ids in enumerate(prompts) if len(ids) < writer.length]
    began = clock()
    written = writer.write([prompts[place] for place in fitting], 0)
    seconds = clock() - began
    texts = [""] * len(examples)
    for place, ids in zip(fitting, written, strict=True):
        texts[place] = text_of(judged.tokenizer, ids)
    return Answers(tuple(texts), sum(map(len, written)), seconds)


def writer_of(judged: Judged, max_tokens: int) -> Writer:
    """Writes greedily with all of the model's context."""
    context = int(judged.model.config.max_position_embeddings)
    return Writer(judged.model, judged.tokenizer, length=context, max_tokens=max_tokens, temperature=0.0)


def text_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """Text of an answer without its end; marks of reasoning and calls stay."""
    end = tokenizer.eos_token_id
    kept = list(ids[:-1]) if ids and ids[-1] == end else list(ids)
    return str(tokenizer.decode(kept))


def items_for(
    tokenizer: Any, examples: Sequence[Example], texts: Sequence[str], room: int
) -> list[Item | None]:
    """One item a prompt with the given answer; None where there is no answer, or no room for it."""
    made: list[Item | None] = []
    for one, text in zip(examples, texts, strict=True):
        if not text:
            made.append(None)
            continue
        (document,) = documents_of_pairs([Pair(ask(one.prompt), text)], tokenizer)
        fits = len(document.tokens) <= room
        made.append(Item(document, turns=ask(one.prompt), answer=text) if fits else None)
    return made
