"""The server in front of teachers that fail, that answer whole, and that are asked for too much."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from kdguard.distill.teachers.classifier import ClassifierTeacher
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Answer, Ask, failed
from kdguard.service.teacher import TeacherSettings, create_teacher_app
from tests.distill.teachers.tiny import CHAT_TEMPLATE, llama, tokenizer
from tests.service.asking import ask, client, until
from tests.service.conftest import tiny_teacher
from tests.service.serving import serving
from tests.service.test_log import NO_END, rows_of


class Broken:
    """Fails in several ways."""

    name = "tiny"

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        for asked in asks:
            if "raise" in asked.prompt:
                raise ValueError("a secret prompt")
            if "down" in asked.prompt:
                yield failed(asked, self.name, status=503, error="connection_error: ConnectError")
            elif "silent" not in asked.prompt:
                yield Answer(request_id=asked.request_id, choice=0, model=self.name, response="one of many")


def test_a_teacher_that_fails_does_not_take_the_server_down() -> None:
    with serving(create_teacher_app(Broken())) as url, client(url) as asker:
        for prompt, code in (("raise", None), ("down", "connection_error"), ("silent", "no_answer")):
            for stream in (False, True):
                with pytest.raises(openai.InternalServerError) as caught:
                    ask(asker, prompt, stream=stream, n=2)
                assert caught.value.code == code
                assert "secret" not in str(caught.value)
        assert [choice.message.content for choice in ask(asker, "fine", n=3).choices] == ["one of many"]
        with ask(asker, "fine", stream=True) as stream:
            said = "".join(choice.delta.content or "" for part in stream for choice in part.choices)
        assert said == "one of many"


def test_a_local_teacher_that_breaks_says_so_to_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = tiny_teacher()
    with serving(create_teacher_app(teacher)) as url, client(url) as asker, httpx.Client(base_url=url) as raw:
        assert raw.get("/healthz").json() == {"status": "ok"}

        def out_of_memory() -> None:
            raise MemoryError("a secret prompt")

        monkeypatch.setattr(teacher.engine, "advance", out_of_memory)
        for _ in range(2):
            with pytest.raises(openai.InternalServerError, match="the teacher failed: MemoryError"):
                ask(asker)
        told = raw.get("/healthz")
        assert (told.status_code, told.json()) == (503, {"status": "the teacher failed: MemoryError"})


def test_a_conversation_that_the_template_refuses_harms_nobody_else() -> None:
    """Many templates insist that user and assistant take turns; they are programs and may raise anything."""
    strict = tokenizer(chat=True).__class__(
        tokenizer_object=tokenizer().backend_tokenizer, eos_token="<end>", pad_token="<end>"
    )
    strict.chat_template = (
        "{% if messages | length > 1 %}{{ raise_exception('turns must alternate') }}{% endif %}"
        "{% if tools %}{{ tools[0].function.parameters.missing.deeper }}{% endif %}" + CHAT_TEMPLATE
    )
    teacher = LocalTeacher(llama(), strict, name="tiny", rows=4)
    with serving(create_teacher_app(teacher)) as url, client(url) as asker:
        twice: list[Any] = [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]
        with pytest.raises(openai.BadRequestError, match="turns must alternate"):
            ask(asker, messages=twice)
        tools: list[Any] = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
        with pytest.raises(openai.BadRequestError, match="chat template"):
            ask(asker, tools=tools)
        assert ask(asker).choices


def test_more_than_fits_is_told_to_come_back(tmp_path: Path) -> None:
    teacher, log = tiny_teacher(), tmp_path / "log.jsonl"
    settings = TeacherSettings(log=log, most_waiting=8)
    with serving(create_teacher_app(teacher, settings)) as url, client(url) as asker:
        stream = ask(asker, "long", stream=True, n=6, max_tokens=200, logit_bias=NO_END)
        with pytest.raises(openai.InternalServerError) as refused:
            ask(asker, n=3)
        assert (refused.value.status_code, refused.value.code) == (503, "overloaded")
        assert refused.value.response.headers["retry-after"] == "1"
        stream.close()
        assert until(lambda: not teacher.busy)
        assert len(ask(asker, n=8).choices) == 8
    assert sorted({row["status"] for row in rows_of(log)}) == [200, 503]


def test_requests_of_many_clients_are_decoded_together() -> None:
    """Sixteen requests of 64 tokens in blocks of 8 steps: 8 blocks together, 128 one after the other."""
    teacher = tiny_teacher()
    blocks, advance = 0, teacher.engine.advance
    gate = threading.Event()

    def counted() -> Any:
        nonlocal blocks
        gate.wait(20)
        blocks += 1
        return advance()

    teacher.engine.advance = counted  # type: ignore[method-assign]
    with serving(create_teacher_app(teacher)) as url, client(url) as asker:
        threads = [
            threading.Thread(
                target=ask, args=(asker, f"{at}"), kwargs={"max_tokens": 64, "logit_bias": NO_END}
            )
            for at in range(16)
        ]
        for thread in threads:
            thread.start()
        assert until(lambda: teacher.engine.unfinished > 0)
        gate.set()
        for thread in threads:
            thread.join()
    assert 8 <= blocks <= 40


def test_a_classifier_can_be_served() -> None:
    def predict(texts: list[str]) -> list[list[float]]:
        return [[0.9, 0.1] if "x" in text else [0.2, 0.8] for text in texts]

    teacher = ClassifierTeacher(predict, ["x", "y"], name="tiny")
    with serving(create_teacher_app(teacher)) as url, client(url) as asker:
        assert ask(asker, "x?").choices[0].message.content == "x"
        assert ask(asker, "no").choices[0].message.content == "y"


def test_a_caller_that_stops_listening_leaves_no_rows_behind() -> None:
    teacher = tiny_teacher()
    first = Ask(request_id="", prompt="a", logit_bias={0: -100.0})
    asks = [replace(first, request_id=f"r{at}", max_tokens=2 + 40 * at) for at in range(5)]
    answers = teacher.answer(asks)
    next(answers)
    assert teacher.busy
    answers.close()  # type: ignore[attr-defined]
    assert not teacher.busy
    assert len(list(teacher.answer(asks))) == 5
