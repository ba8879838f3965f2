"""Tokenizers and documents: nothing is tokenised twice, and what is learnt is what the teacher said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import WORLDS
from kdguard.distill.students.data import Document
from kdguard.distill.students.documents import documents_of_texts, documents_of_transcripts
from kdguard.distill.students.lessons import Lesson, documents_of_lessons, lesson_of
from kdguard.distill.students.tokenizer import (
    conversation_ids,
    fitted_vocab,
    special_ids,
    text_ids,
    train_tokenizer,
)
from kdguard.distill.teachers.protocol import Answer, Ask, Message
from kdguard.distill.teachers.token_bytes import token_bytes
from kdguard.distill.transcripts.reader import Transcripts, read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import TrainingError
from kdguard.exchanges.tokens import TokenTrace

CORPUS = [f"{each.prompt} {each.response}" for each in examples(WORLDS["aurora"], 400, seed=0)]
TOKENIZER = train_tokenizer(CORPUS, 400)
OTHER = train_tokenizer(CORPUS[::-1][:100], 350)


@settings(max_examples=80, deadline=None)
@given(st.text(max_size=40))
def test_any_text_comes_back(text: str) -> None:
    (ids,) = text_ids(TOKENIZER, [text])
    pieces = token_bytes(TOKENIZER)
    assert b"".join(pieces[at] for at in ids).decode() == text


def test_tokenizers_are_repeatable_and_digits_stand_alone() -> None:
    again = train_tokenizer(CORPUS, 400)
    assert again.backend_tokenizer.to_str() == TOKENIZER.backend_tokenizer.to_str()
    assert len(TOKENIZER) == 400
    assert fitted_vocab(TOKENIZER) == 448
    assert special_ids(TOKENIZER) == {"pad_token_id": 0, "eos_token_id": 1}
    names = TOKENIZER.convert_ids_to_tokens(text_ids(TOKENIZER, ["1234"])[0])
    assert names == ["1", "2", "3", "4"]
    with pytest.raises(TrainingError, match="needs at least 266 tokens"):
        train_tokenizer(CORPUS, 200)


def test_conversations_end_where_the_assistant_speaks() -> None:
    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello"}]
    (ids,) = conversation_ids(TOKENIZER, [turns])
    assert TOKENIZER.decode(ids) == "<|system|>Be brief.<|end|><|user|>Hello<|end|><|assistant|>"
    names = ("<|user|>", "<think>", "</tool_call>")
    marks = [TOKENIZER.convert_tokens_to_ids(name) for name in names]
    assert [TOKENIZER.convert_ids_to_tokens(mark) for mark in marks] == [
        "<|user|>",
        "<think>",
        "</tool_call>",
    ]


def learnt(document: Document) -> str:
    return str(TOKENIZER.decode(document.tokens[document.weights > 0]))


def test_routes_teach_answers_reasoning_or_both_tasks() -> None:
    lessons = [Lesson("How many?", "Three.", "1 + 2 = 3.", source="t"), Lesson("Who?", "Ada.", source="t")]
    answer = documents_of_lessons(lessons, TOKENIZER)
    assert [learnt(each) for each in answer] == ["Three.<|end|>", "Ada.<|end|>"]
    reasoning = documents_of_lessons(lessons, TOKENIZER, route="reasoning")
    assert learnt(reasoning[0]) == "<think>1 + 2 = 3.</think>Three.<|end|>"
    assert {each.source for each in reasoning} == {"t"}
    tasks = documents_of_lessons(lessons, TOKENIZER, route="step_by_step", rationale_weight=0.5)
    assert [learnt(each) for each in tasks] == ["Three.<|end|>", "Ada.<|end|>", "1 + 2 = 3.<|end|>"]
    assert "[rationale] How many?" in TOKENIZER.decode(tasks[2].tokens)
    total = sum(each.weights.sum() for each in tasks)
    np.testing.assert_allclose(tasks[2].weights.sum() / total, 0.5 / 1.5, rtol=1e-5)
    with pytest.raises(TrainingError, match="route must be one of answer, reasoning, step_by_step"):
        documents_of_lessons(lessons, TOKENIZER, route="guess")  # type: ignore[arg-type]
    assert lesson_of(examples(WORLDS["aurora"], 1, seed=0, kinds=["arithmetic"])[0]).rationale


def test_texts_are_learnt_whole() -> None:
    (document,) = documents_of_texts(["Once upon a time."], TOKENIZER)
    assert learnt(document) == "Once upon a time.<|end|>"
    assert document.weights.all()


def trace(text: str, tokenizer: Any = TOKENIZER, *, ids: bool = True, counts: bool = False) -> TokenTrace:
    """The tokens of a text; each with itself at 0.6, a neighbour at 0.3, and a tail."""
    (said,) = text_ids(tokenizer, [text])
    pieces = token_bytes(tokenizer)
    top = np.stack([np.array(said), (np.array(said) + 1) % len(pieces)], 1).astype(np.int32)
    logprobs = np.tile(np.log(np.array([0.6, 0.3], np.float32)), (len(said), 1))
    return TokenTrace(
        token_bytes=tuple(pieces[at] for at in said),
        logprob=logprobs[:, 0],
        token_id=np.array(said, np.int32) if ids else None,
        top_ids=top if ids or counts else None,
        top_bytes=tuple(tuple(pieces[at] for at in row) for row in top.tolist()),
        top_logprobs=None if counts else logprobs,
        tail_mass=None if counts else np.full(len(said), 0.1, np.float32),
        sampled_counts=np.tile(np.array([6, 2], np.int32), (len(said), 1)) if counts else None,
    )


def transcripts(folder: Path, *answered: tuple[Ask, Answer]) -> Transcripts:
    with TranscriptWriter(folder) as writer:
        for ask, answer in answered:
            writer.append(ask, [answer])
    return read_transcripts(folder)


def exchange(number: int, text: str, **more: Any) -> tuple[Ask, Answer]:
    ask = Ask(
        request_id=f"r{number}", prompt="Who?", history=(Message("user", "Hi"), Message("assistant", "Hello"))
    )
    answer: dict[str, Any] = {
        "request_id": ask.request_id,
        "choice": 0,
        "model": "aurora-1",
        "response": text,
        "finish_reason": "stop",
    }
    return ask, Answer(**(answer | more))


@pytest.mark.parametrize("ids", [True, False], ids=["ids", "bytes only"])
def test_tokens_of_the_teacher_are_taken_as_they_are(tmp_path: Path, ids: bool) -> None:
    text = "The answer is 42."
    said = transcripts(tmp_path, exchange(0, text, tokens=trace(text, ids=ids)))
    (document,) = documents_of_transcripts(said, TOKENIZER, soft="topk")
    assert learnt(document) == text + "<|end|>"
    assert str(TOKENIZER.decode(document.tokens)).startswith(
        "<|user|>Hi<|end|><|assistant|>Hello<|end|><|user|>Who?"
    )
    assert document.source == "aurora-1"
    assert document.soft is not None
    assert document.soft_at is not None
    np.testing.assert_array_equal(document.soft.ids[:, 0], document.tokens[document.soft_at])
    np.testing.assert_allclose(document.soft.tail, 0.1, atol=1e-3)
    assert len(document.soft_at) == (document.weights > 0).sum() - 1  # the end has no distribution


def test_sampled_labels_become_shares(tmp_path: Path) -> None:
    said = transcripts(tmp_path, exchange(0, "Yes.", tokens=trace("Yes.", counts=True)))
    (document,) = documents_of_transcripts(said, TOKENIZER, soft="sampled")
    assert document.soft is not None
    np.testing.assert_allclose(np.exp(document.soft.logprobs[0, :2]), [0.75, 0.25], rtol=1e-5)
    assert not document.soft.tail.any()


def test_another_vocabulary_learns_the_text_alone(tmp_path: Path) -> None:
    text = "Sort out noodles in Kyoto for Friday."
    said = transcripts(tmp_path, exchange(0, text, tokens=trace(text, OTHER)))
    (document,) = documents_of_transcripts(said, TOKENIZER, soft="topk")
    assert learnt(document) == text + "<|end|>"
    known = documents_of_transcripts(said, OTHER, soft="topk")[0].soft
    assert known is not None
    if document.soft is not None:  # its tokens may all be in both vocabularies, under other ids
        assert not np.array_equal(document.soft.ids, known.ids)


def test_reasoning_calls_and_cut_answers(tmp_path: Path) -> None:
    call = '[{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\\"x\\": 1}"}}]'
    said = transcripts(
        tmp_path,
        exchange(0, "Three.", reasoning="1 + 2."),
        exchange(1, "Cut he", finish_reason="length"),
        exchange(2, "x", response=None, tool_calls=call, finish_reason="tool_calls"),
        exchange(3, "x", response=None, status=503, error="down"),
        exchange(4, "x", response=None, label="spam"),
        exchange(5, "Not wanted."),
    )
    made = documents_of_transcripts(said, TOKENIZER, keep=lambda row: row["request_id"] != "r5")
    assert [learnt(each) for each in made] == [
        "<think>1 + 2.</think>Three.<|end|>",
        "Cut he",
        '<tool_call>{"name": "f", "arguments": {"x": 1}}</tool_call><|end|>',
        "spam<|end|>",
    ]
