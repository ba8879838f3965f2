"""A model in this process, spoken to as an API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch

from kdguard.distill.teachers.conversation import plain_text, renderer
from kdguard.distill.teachers.generation import Piece
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Answer, Ask, Message, Teacher
from kdguard.distill.teachers.reply import parse_reply
from kdguard.distill.teachers.token_bytes import printable_bytes, token_bytes
from kdguard.errors import TeacherError
from tests.distill.teachers.tiny import CORPUS, llama, tokenizer


@pytest.fixture(scope="module")
def teacher() -> LocalTeacher:
    return LocalTeacher(llama(seed=11), tokenizer(), name="tiny", rows=8)


def one(teacher: LocalTeacher, ask: Ask) -> Answer:
    [answer] = teacher.answer([ask])
    return answer


def test_it_is_a_teacher(teacher: LocalTeacher) -> None:
    assert isinstance(teacher, Teacher)


def test_every_choice_comes_once_and_counts(teacher: LocalTeacher) -> None:
    asks = [
        Ask(request_id=f"r{at}", prompt=f"The price {at}", n=1 + at % 3, max_tokens=9) for at in range(12)
    ]
    found = list(teacher.answer(asks))
    assert sorted((answer.request_id, answer.choice) for answer in found) == sorted(
        (ask.request_id, choice) for ask in asks for choice in range(ask.n)
    )
    for answer in found:
        assert answer.status == 200
        assert answer.is_usable
        assert answer.tokens is None
        assert answer.input_tokens == len(tokenizer()(f"The price {answer.request_id[1:]}")["input_ids"])
        assert answer.output_tokens is not None
        assert answer.output_tokens <= 9
        assert answer.latency_ms is not None
        assert answer.latency_ms > 0


def test_the_trace_spells_the_response_and_scores_agree(teacher: LocalTeacher) -> None:
    answer = one(teacher, Ask(request_id="a", prompt="A student", seed=5, top_logprobs=20, max_tokens=30))
    trace = answer.tokens
    assert trace is not None
    assert trace.token_id is not None
    assert trace.top_ids is not None
    assert trace.top_logprobs is not None
    assert b"".join(trace.token_bytes).decode("utf-8", "replace") == answer.response
    ids = [*tokenizer()("A student")["input_ids"], *trace.token_id.tolist()]
    logprobs = teacher.score(torch.tensor([ids]))[0].log_softmax(-1)[-len(trace) - 1 : -1]
    rows = np.arange(len(trace))
    np.testing.assert_allclose(trace.logprob, logprobs.numpy()[rows, trace.token_id], atol=5e-5)
    np.testing.assert_allclose(
        trace.top_logprobs, np.take_along_axis(logprobs.numpy(), trace.top_ids.astype(np.int64), 1), atol=5e-5
    )


def test_seeds_repeat_and_choices_differ(teacher: LocalTeacher) -> None:
    ask = Ask(request_id="a", prompt="bytes", n=4, seed=7, max_tokens=20)
    again = LocalTeacher(teacher.model, tokenizer(), name="again", rows=3)
    texts = {answer.choice: answer.response for answer in teacher.answer([ask])}
    assert texts == {answer.choice: answer.response for answer in again.answer([ask])}
    assert len(set(texts.values())) == 4
    unseeded = replace(ask, seed=None)
    assert one(teacher, replace(unseeded, n=1)).response == one(again, replace(unseeded, n=1)).response
    assert one(teacher, replace(unseeded, n=1, request_id="b")).response != texts[0]


def test_stop_texts_are_cut_off(teacher: LocalTeacher) -> None:
    ask = Ask(request_id="a", prompt="The", seed=3, max_tokens=40)
    whole = one(teacher, ask).response or ""
    stop = re.findall("[a-z]{2}", whole[3:])[0]
    cut = one(teacher, replace(ask, stop=(stop, "never in it")))
    assert cut.response == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"prompt": "x " * 400}, "fewer than 256 tokens"),
        ({"prompt": ""}, "at least one token"),
        ({"n": 0}, "n must be"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"top_p": 3.0}, "top_p"),
        ({"temperature": -1}, "temperature"),
        ({"logit_bias": {999: 1.0}}, "token ids"),
    ],
    ids=str,
)
def test_what_cannot_be_answered_is_an_answer_that_says_so(
    teacher: LocalTeacher, changed: dict[str, Any], reason: str
) -> None:
    good = Ask(request_id="good", prompt="The", max_tokens=4)
    found = {
        answer.request_id: answer
        for answer in teacher.answer([replace(good, **({"request_id": "bad"} | changed)), good])
    }
    assert found["bad"].status == 400
    assert reason in (found["bad"].error or "")
    assert found["good"].status == 200
    assert not teacher.busy


def test_pieces_spell_the_answers_and_cancelled_asks_end(teacher: LocalTeacher) -> None:
    for at in range(3):
        teacher.submit(Ask(request_id=f"p{at}", prompt="price", n=2, max_tokens=30, seed=at))
    teacher.submit(Ask(request_id="p0", prompt="again", max_tokens=3))
    texts: dict[Any, bytes] = {}
    told: dict[Any, Answer] = {}
    first = True
    while teacher.busy:
        for event in teacher.advance():
            if isinstance(event, Piece):
                texts[event.key] = texts.get(event.key, b"") + event.text
            else:
                told[event.request_id, event.choice, event.status] = event
        if first:
            teacher.cancel("p1")
            first = False
    assert ("p0", 0, 409) in told, "an id under way cannot be used again"
    assert {key[0] for key in told} == {"p0", "p2"}
    for (name, choice, status), answer in told.items():
        if status == 200:
            assert answer.response == texts[name, choice].decode("utf-8", "replace")


def test_every_byte_of_the_vocabulary_is_known() -> None:
    made = tokenizer()
    known = token_bytes(made)
    assert known[0] == b"<end>"
    assert len(known) == len(made)
    for text in CORPUS:
        assert b"".join(known[at] for at in made(text)["input_ids"]) == text.encode()
    assert sorted(printable_bytes().values()) == list(range(256))


def test_sentencepiece_names_become_bytes() -> None:
    class Fake:
        added_tokens_decoder: Mapping[int, Any] = MappingProxyType({})

        def __len__(self) -> int:
            return 4

        def convert_ids_to_tokens(self, ids: list[int]) -> list[str]:
            return ["▁the", "<0xE2>", "é", "▁"]

    assert token_bytes(Fake()) == (b" the", b"\xe2", "é".encode(), b" ")


def test_conversations_are_written_with_the_template_or_plainly() -> None:
    ask = Ask(
        request_id="a",
        prompt="And now?",
        system="Be brief.",
        history=(Message("user", "Hi"), Message("assistant", "Hello")),
        tools='[{"type": "function", "function": {"name": "f"}}]',
    )
    chat, plain = tokenizer(chat=True), tokenizer()
    written = chat.decode(list(renderer(chat)(ask)))
    assert written == "<system>Be brief.<user>Hi<assistant>Hello<user>And now?[1 tools]<assistant>"
    assert plain.decode(list(renderer(plain)(ask))) == "Be brief.\n\nHi\n\nHello\n\nAnd now?"
    assert chat.decode(list(renderer(chat, "plain")(ask))) == plain_text(ask)
    assert chat.decode(list(renderer(chat)(replace(ask, endpoint="completions")))) == "And now?"
    assert replace(ask, prompt="").messages[-1] == Message("assistant", "Hello")
    with pytest.raises(TeacherError, match="chat template"):
        renderer(plain, "chat")


TOOLS = json.dumps([{"type": "function", "function": {"name": name}} for name in ("add", "find")])


@pytest.mark.parametrize(
    ("text", "names", "response"),
    [
        ('{"name": "add", "arguments": {"a": 1}}', ["add"], None),
        (
            ' [{"name": "add", "arguments": {}}, {"name": "find", "parameters": {"x": 2}}]',
            ["add", "find"],
            None,
        ),
        ('I will.\n<tool_call>{"name": "find", "arguments": "{}"}</tool_call>', ["find"], "I will."),
        ('{"name": "drop", "arguments": {}}', [], '{"name": "drop", "arguments": {}}'),
        ('{"name": "add", "arguments":', [], '{"name": "add", "arguments":'),
        ('{"answer": 4}', [], '{"answer": 4}'),
        ("plain text", [], "plain text"),
        ("[" * 5000, [], "[" * 5000),
    ],
)
def test_tool_calls_are_found_where_tools_were_offered(
    text: str, names: list[str], response: str | None
) -> None:
    reply = parse_reply(text, tools=TOOLS, key="k")
    calls = json.loads(reply.tool_calls) if reply.tool_calls else []
    assert [call["function"]["name"] for call in calls] == names
    assert all(isinstance(json.loads(call["function"]["arguments"]), dict) for call in calls)
    assert len({call["id"] for call in calls}) == len(names)
    assert reply.response == response
    assert parse_reply(text).tool_calls is None


def test_reasoning_is_told_apart() -> None:
    reply = parse_reply("<think>\ntwo and two\n</think>\n\nfour")
    assert (reply.reasoning, reply.response) == ("two and two", "four")


def test_asks_are_drawn_as_rows_become_free() -> None:
    teacher = LocalTeacher(llama(seed=1), tokenizer(), name="tiny", rows=2)
    drawn = 0

    def asks() -> Iterator[Ask]:
        nonlocal drawn
        for at in range(40):
            drawn += 1
            yield Ask(request_id=str(at), prompt="The", max_tokens=2)

    listening = teacher.answer(asks())  # type: ignore[arg-type]
    next(listening)
    assert drawn <= 8
    assert sum(1 for _ in listening) == 39
