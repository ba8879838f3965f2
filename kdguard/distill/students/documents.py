"""Documents from texts and from a teacher's transcripts."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from kdguard.distill.students.data import Document, Int32, SoftTargets, from_counts, from_topk
from kdguard.distill.students.tokenizer import conversation_ids, text_ids
from kdguard.distill.teachers.token_bytes import token_bytes

if TYPE_CHECKING:
    from kdguard.distill.transcripts.reader import Transcripts
    from kdguard.exchanges.tokens import TokenTrace

Soft = Literal["none", "topk", "sampled"]


@dataclass(frozen=True, slots=True)
class Pair:
    """A conversation and what is to be said next.

    Attributes:
        turns: `{"role", "content"}` turns before the answer.
        answer: The text to learn, reasoning marks included.
        source: Whose words the answer is.
        weight: Weight of its tokens.
    """

    turns: tuple[Mapping[str, str], ...]
    answer: str
    source: str = "corpus"
    weight: float = 1.0


def ask(prompt: str, system: str | None = None) -> tuple[Mapping[str, str], ...]:
    """The turns of one question."""
    first = ({"role": "system", "content": system},) if system else ()
    return (*first, {"role": "user", "content": prompt})


def with_reasoning(reasoning: str | None, answer: str) -> str:
    """An answer with its reasoning in front, between marks."""
    return f"<think>{reasoning}</think>{answer}" if reasoning else answer


def documents_of_pairs(pairs: Sequence[Pair], tokenizer: Any) -> list[Document]:
    """One document a pair: the conversation as context, the answer and its end to learn."""
    contexts = conversation_ids(tokenizer, [pair.turns for pair in pairs])
    answers = text_ids(tokenizer, [pair.answer for pair in pairs])
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    return [
        _document(context, [*answer, *end], pair.source, pair.weight)
        for pair, context, answer in zip(pairs, contexts, answers, strict=True)
    ]


def documents_of_texts(texts: Sequence[str], tokenizer: Any, source: str = "corpus") -> list[Document]:
    """One document a text, all of it to learn."""
    end = [tokenizer.eos_token_id] if tokenizer.eos_token_id is not None else []
    return [_document([], [*ids, *end], source, 1.0) for ids in text_ids(tokenizer, texts) if ids]


def documents_of_transcripts(
    transcripts: Transcripts,
    tokenizer: Any,
    *,
    soft: Soft = "none",
    keep: Callable[[Mapping[str, Any]], bool] = lambda row: True,
) -> list[Document]:
    """One document an answered exchange.

    Where the teacher's tokens are known and the student's vocabulary has them, they are taken as they are; otherwise
    the text is cut by the student's own tokenizer, and soft targets, which belong to the teacher's tokens, are left
    out. An answer that was cut off by its length has no end to learn.

    Args:
        transcripts: What was asked and answered.
        tokenizer: The student's.
        soft: Which soft targets to take: none, the k most likely tokens, or sampled ones.
        keep: Which exchanges to learn from, by their columns.
    """
    rows = [row for row in learnable_rows(transcripts) if keep(row)]
    contexts = conversation_ids(tokenizer, [turns_of(row) for row in rows])
    answers = text_ids(tokenizer, [said(row) or "" for row in rows])
    vocabulary = Vocabulary(token_bytes(tokenizer))
    traces = _traces(transcripts)
    made = []
    for row, context, answer in zip(rows, contexts, answers, strict=True):
        trace = traces.get((row["request_id"], row["choice"]))
        exact = vocabulary.ids(trace) if trace is not None else None
        end = [] if row["finish_reason"] == "length" else [tokenizer.eos_token_id]
        spoken = answer if exact is None else exact.tolist()
        end = end if end != [None] and spoken[-1:] != end else []
        targets = vocabulary.soft(trace, soft) if trace is not None and exact is not None else None
        made.append(_document(context, [*spoken, *end], row["model"] or "teacher", 1.0, targets))
    return made


def learnable_rows(transcripts: Transcripts) -> list[dict[str, Any]]:
    """Exchanges that say something, in the order in which `documents_of_transcripts` takes them."""
    wanted = ["request_id", "choice", "model", "system", "prompt", "messages", "endpoint", "response"]
    wanted += ["reasoning", "tool_calls", "label", "label_probs", "finish_reason", "status", "refused"]
    return [
        row
        for row in transcripts.exchanges.select(wanted).to_pylist()
        if row["status"] in (200, None) and said(row) is not None
    ]


class Vocabulary:
    """A student's vocabulary, asked for tokens that an API gave as bytes.

    Args:
        pieces: Bytes of every id.
    """

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self.pieces = tuple(pieces)
        self._id_of = {piece: at for at, piece in reversed(list(enumerate(self.pieces))) if piece}

    def ids(self, trace: TokenTrace) -> Int32 | None:
        """The student's ids of the tokens of a trace; None unless it has them all."""
        if trace.token_id is not None and self._agrees(trace.token_id, trace.token_bytes):
            return trace.token_id.astype(np.int32)
        found = [self._id_of.get(piece, -1) for piece in trace.token_bytes]
        return None if -1 in found else np.array(found, np.int32)

    def soft(self, trace: TokenTrace, kind: Soft) -> SoftTargets | None:
        """Soft targets of a trace in the student's ids; alternatives it does not have fall into the tail."""
        if kind == "none":
            return None
        ids = self._alternatives(trace)
        if ids is None:
            return None
        if kind == "sampled":
            return None if trace.sampled_counts is None else from_counts(ids, trace.sampled_counts)
        return None if trace.top_logprobs is None else from_topk(ids, trace.top_logprobs, trace.tail_mass)

    def _alternatives(self, trace: TokenTrace) -> Int32 | None:
        if trace.top_ids is not None and (
            trace.token_id is None or self._agrees(trace.token_id, trace.token_bytes)
        ):
            return np.where(trace.top_ids < len(self.pieces), trace.top_ids, -1).astype(np.int32)
        if trace.top_bytes is None:
            return None
        return np.array(
            [[self._id_of.get(piece, -1) for piece in row] for row in trace.top_bytes], np.int32
        ).reshape(len(trace), -1)

    def _agrees(self, ids: Int32, pieces: Sequence[bytes]) -> bool:
        known = len(self.pieces)
        return all(
            0 <= at < known and self.pieces[at] == piece
            for at, piece in zip(ids.tolist(), pieces, strict=True)
        )


def _document(
    context: Sequence[int],
    answer: Sequence[int],
    source: str,
    weight: float,
    soft: SoftTargets | None = None,
) -> Document:
    weights = np.zeros(len(context) + len(answer), np.float32)
    weights[len(context) :] = weight
    at = None if soft is None else len(context) + np.arange(len(soft.tail), dtype=np.int32)
    return Document(np.array([*context, *answer], np.int32), weights, source, soft, at)


def turns_of(row: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    """The conversation that an exchange answers."""
    if row["messages"]:
        return tuple({"role": turn["role"], "content": turn["content"] or ""} for turn in row["messages"])
    return ask(row["prompt"] or "", row["system"])


def said(row: Mapping[str, Any]) -> str | None:
    """What the teacher said as one text: reasoning, answer and calls in the marks a student learns; or its label."""
    if row["tool_calls"]:
        calls = [call.get("function", call) for call in json.loads(row["tool_calls"])]
        told = "".join(f"<tool_call>{_call(call)}</tool_call>" for call in calls)
        return with_reasoning(row["reasoning"], (row["response"] or "") + told)
    if row["response"] is not None:
        return with_reasoning(row["reasoning"], row["response"])
    return row["label"]


def _call(call: Mapping[str, Any]) -> str:
    arguments = call.get("arguments", {})
    given = json.loads(arguments) if isinstance(arguments, str) else arguments
    return json.dumps({"name": call["name"], "arguments": given})


def _traces(transcripts: Transcripts) -> dict[tuple[str, int], TokenTrace]:
    return {(request_id, choice): trace for request_id, choice, trace in transcripts.tokens}
