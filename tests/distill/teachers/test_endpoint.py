"""Endpoints that behave, and endpoints that do not: everything becomes an answer."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdguard.distill.teachers.endpoint import EndpointTeacher
from kdguard.distill.teachers.endpoint_body import read_body
from kdguard.distill.teachers.pacing import Pace
from kdguard.distill.teachers.protocol import Answer, Ask, Message
from kdguard.errors import TeacherError
from tests.distill.teachers.scripted_server import Reply, Script, chat, serving

TOKEN = {
    "token": "yes",
    "logprob": -0.1,
    "bytes": [121, 101, 115],
    "top_logprobs": [
        {"token": "yes", "logprob": -0.1, "bytes": [121, 101, 115]},
        {"token": "\ufffd", "logprob": -3.0, "bytes": [226, 130]},
        {"token": "never", "logprob": -9999.0, "bytes": None},
    ],
}


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pauses between tries of the SDK, without the wait."""
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr("openai._base_client.MAX_RETRY_DELAY", 0.002)


@pytest.fixture
def script() -> Iterator[Script]:
    with serving(Script(lambda number, asked: (200, chat(), {}))) as made:
        yield made


def one(script: Script, ask: Ask | None = None, **settings: Any) -> Answer:
    [answer] = answers(script, [ask or Ask(request_id="a", prompt="Is it?")], **settings)
    return answer


def answers(script: Script, asks: list[Ask], **settings: Any) -> list[Answer]:
    teacher = EndpointTeacher(script.url, "m", **({"timeout_s": 5.0, "retries": 2} | settings))
    try:
        return list(teacher.answer(asks))
    finally:
        teacher.close()


def test_an_ask_is_sent_as_a_customer_would(script: Script) -> None:
    ask = Ask(
        request_id="a",
        prompt="Is it?",
        system="Be brief.",
        history=(Message("user", "Hi"), Message("assistant", "Hello")),
        n=2,
        temperature=0.5,
        top_p=0.9,
        max_tokens=9,
        seed=4,
        stop=("\n",),
        top_logprobs=3,
        logit_bias={5: -100},
        tools='[{"type": "function", "function": {"name": "f"}}]',
        store=True,
        metadata={"run": "7"},
        account_id="second",
        session_id="s1",
    )
    one(script, ask, keys={"second": "key-2"}, api_key="key-1")
    assert script.paths == ["/v1/chat/completions"]
    assert script.keys == ["key-2"]
    assert script.seen[0] == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello"},
            {"role": "user", "content": "Is it?"},
        ],
        "n": 2,
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 9,
        "seed": 4,
        "stop": ["\n"],
        "logprobs": True,
        "top_logprobs": 3,
        "logit_bias": {"5": -100},
        "tools": [{"type": "function", "function": {"name": "f"}}],
        "store": True,
        "metadata": {"run": "7", "session_id": "s1"},
    }


def test_a_good_answer_is_read_with_its_tokens(script: Script) -> None:
    script.reply = lambda number, asked: (200, chat(logprobs={"content": [TOKEN]}), {})
    answer = one(script, Ask(request_id="a", prompt="Is it?", top_logprobs=3))
    assert (answer.response, answer.model, answer.finish_reason) == ("yes", "scripted-1", "stop")
    assert (answer.status, answer.error, answer.input_tokens, answer.output_tokens) == (200, None, 7, 1)
    assert answer.latency_ms is not None
    assert answer.latency_ms > 0
    assert answer.tokens is not None
    assert answer.tokens.tail_mass is not None
    assert answer.tokens.token_bytes == (b"yes",)
    assert answer.tokens.top_bytes == ((b"yes", b"\xe2\x82", b"never"),)
    assert answer.tokens.top_logprobs is not None
    np.testing.assert_allclose(answer.tokens.top_logprobs, np.array([[-0.1, -3.0, -np.inf]]))
    np.testing.assert_allclose(answer.tokens.tail_mass, 1 - np.exp(-0.1) - np.exp(-3.0), rtol=1e-5)


def test_completions_are_read_too(script: Script) -> None:
    body = {
        "object": "text_completion",
        "model": "scripted-1",
        "choices": [
            {
                "index": 0,
                "text": " and €",
                "finish_reason": "length",
                "logprobs": {
                    "tokens": [" and", " ", "bytes:\\xe2\\x82", "bytes:\\xac"],
                    "token_logprobs": [-0.5, -1.0, -2.0, -0.0],
                    "top_logprobs": [
                        {" and": -0.5, " or": -1.5},
                        {" ": -1.0},
                        {"bytes:\\xe2\\x82": -2.0},
                        {},
                    ],
                },
            }
        ],
    }
    script.reply = lambda number, asked: (200, body, {})
    answer = one(script, Ask(request_id="a", prompt="this", top_logprobs=2, endpoint="completions"))
    assert script.paths == ["/v1/completions"]
    assert script.seen[0]["prompt"] == "this"
    assert script.seen[0]["logprobs"] == 2
    assert answer.response == " and €"
    assert answer.tokens is not None
    assert b"".join(answer.tokens.token_bytes) == " and €".encode()
    assert answer.tokens.widths.tolist() == [2, 1, 1, 0]


def test_what_fails_for_a_while_is_tried_again(script: Script) -> None:
    def reply(number: int, asked: dict[str, Any]) -> Reply:
        return (200, chat("at last"), {}) if number == 2 else ((429, 500)[number], {}, {"retry-after": "0"})

    script.reply = reply
    assert one(script).response == "at last"
    assert len(script.seen) == 3


def test_a_rate_limit_is_waited_out_as_long_as_the_server_says(script: Script) -> None:
    """The SDK's own pauses last a thousandth of a second here."""
    times: list[float] = []

    def reply(number: int, asked: dict[str, Any]) -> Reply:
        times.append(time.monotonic())
        return (200, chat(), {}) if number else (429, {}, {"retry-after": "1"})

    script.reply = reply
    assert one(script).response == "yes"
    assert times[1] - times[0] >= 0.95


def test_a_wait_of_hours_is_an_answer_not_a_standstill(script: Script) -> None:
    script.reply = lambda number, asked: (429, {"error": {"message": "tomorrow"}}, {"retry-after": "86400"})
    assert one(script).status == 429
    assert len(script.seen) == 1


@pytest.mark.parametrize(
    ("reply", "status", "error"),
    [
        (
            (429, {"error": {"message": "slow", "type": "requests", "code": "rate_limit_exceeded"}}, {}),
            429,
            "rate_limit",
        ),
        (
            (401, {"error": {"message": "no such key", "code": "invalid_api_key"}}, {}),
            401,
            "invalid_api_key: no such",
        ),
        (
            (400, {"error": {"message": "too long", "type": "invalid_request_error"}}, {}),
            400,
            "invalid_request",
        ),
        ((503, b"<html>down</html>", {"content-type": "text/html"}), 503, "error"),
        ((307, b"", {"location": "http://198.51.100.7/v1/chat/completions"}), 307, "error"),
        ((200, b'{"choices": [{"mess', {}), 502, "malformed_json"),
        ((200, b"\xff\xfe", {}), 502, "malformed_json"),
        ((200, b"[" * 100_000, {}), 502, "malformed_json"),
        ((200, b"", {}), 502, "malformed_json"),
        ((200, b"[]", {}), 502, "empty_choices"),
        ((200, chat() | {"choices": []}, {}), 502, "empty_choices"),
        ((200, chat() | {"choices": None}, {}), 502, "empty_choices"),
        ((200, chat() | {"choices": [None, "x"]}, {}), 502, "empty_choices"),
        ((200, chat(message=None), {}), 502, "empty_message"),
        ((200, chat(message={"role": "assistant", "content": 7}), {}), 502, "empty_message"),
    ],
    ids=str,
)
def test_what_goes_wrong_is_an_answer_that_says_so(
    script: Script, reply: Reply, status: int, error: str
) -> None:
    script.reply = lambda number, asked: reply
    answer = one(script)
    assert answer.status == status
    assert answer.error is not None
    assert error in answer.error
    assert answer.response is None
    assert not answer.is_usable


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        {"content": None},
        {"content": [{"token": "x"}]},
        {"content": [{"token": "x", "logprob": None}]},
        {"content": [{"token": "x", "logprob": float("nan")}]},
        {"content": [{"token": "x", "logprob": 4.0}]},
        {"content": [{"token": "x", "logprob": -1.0, "bytes": [300]}]},
        {"content": [{"token": "x", "logprob": -1.0, "top_logprobs": [{"token": "x"}]}]},
        "none",
        [1],
    ],
    ids=str,
)
def test_missing_logprobs_leave_the_text(script: Script, logprobs: Any) -> None:
    script.reply = lambda number, asked: (200, chat(logprobs=logprobs), {})
    answer = one(script, Ask(request_id="a", prompt="Is it?", top_logprobs=1))
    assert (answer.response, answer.status, answer.error) == ("yes", 200, "missing_logprobs")
    assert answer.tokens is None
    assert answer.output_tokens == 3


def test_refusals_tool_calls_and_reasoning(script: Script) -> None:
    calls = [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    messages = [
        {"content": None, "refusal": "I cannot help with that."},
        {"content": None, "tool_calls": calls},
        {"content": "four", "reasoning_content": "two and two"},
    ]
    script.reply = lambda number, asked: (
        200,
        chat() | {"choices": [{"index": at, "message": message} for at, message in enumerate(messages)]},
        {},
    )
    refused, called, reasoned = answers(script, [Ask(request_id="a", prompt="?", n=3)])
    assert (refused.response, refused.refused) == ("I cannot help with that.", True)
    assert called.response is None
    assert called.is_usable
    assert json.loads(called.tool_calls or "") == calls
    assert (reasoned.response, reasoned.reasoning) == ("four", "two and two")
    assert [one.output_tokens for one in (refused, called, reasoned)] == [1, 1, 1]


def test_a_slow_server_is_a_timeout(script: Script) -> None:
    script.delay_s = 0.5
    answer = one(script, timeout_s=0.05, retries=1)
    assert (answer.status, answer.error) == (504, "timeout")
    time.sleep(0.5)  # let its threads end
    assert len(script.seen) == 2


def test_a_server_that_trickles_is_a_timeout_too(script: Script) -> None:
    script.trickle_s = 0.02
    began = time.monotonic()
    answer = one(script, timeout_s=0.1, retries=1)
    assert (answer.status, answer.error) == (504, "timeout")
    assert time.monotonic() - began < 3, "the body would take five seconds, twice"
    assert len(script.seen) == 2


def test_a_body_without_end_is_not_read_to_its_end(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdguard.distill.teachers.bounded_response.MOST_BYTES", 1000)
    script.reply = lambda number, asked: (200, chat("x" * 5000), {})
    answer = one(script)
    assert (answer.status, answer.error) == (502, "too_large: a response must have at most 1000 bytes")
    assert len(script.seen) == 1


def test_a_server_that_is_down_is_unreachable() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    answer = one(Script(lambda number, asked: (200, {}, {}), url=f"http://127.0.0.1:{port}/v1"), retries=1)
    assert answer.status == 503
    assert (answer.error or "").startswith("connection_error")


def test_many_are_under_way_but_not_too_many(script: Script) -> None:
    script.delay_s = 0.03
    script.reply = lambda number, asked: (200, chat(asked["messages"][0]["content"]), {})
    asks = [Ask(request_id=str(at), prompt=f"p{at}") for at in range(24)]
    found = answers(script, asks, concurrency=6)
    assert {answer.request_id: answer.response for answer in found} == {str(at): f"p{at}" for at in range(24)}
    assert 2 <= script.most_under_way <= 6


def test_a_caller_who_stops_listening_stops_the_sending(script: Script) -> None:
    script.delay_s = 0.02
    teacher = EndpointTeacher(script.url, "m", concurrency=2)
    listening = teacher.answer([Ask(request_id=str(at), prompt="?") for at in range(50)])
    next(listening)
    listening.close()  # type: ignore[attr-defined]
    teacher.close()
    assert len(script.seen) < 10


def test_only_permitted_addresses() -> None:
    with pytest.raises(TeacherError, match="owned"):
        EndpointTeacher("https://api.example.com/v1", "m")
    teacher = EndpointTeacher("https://api.example.com/v1", "m", owned="our own deployment")
    assert teacher.permission.record()["owned"] == "our own deployment"
    assert teacher.name == "m@https://api.example.com"
    teacher.close()


def test_pace_spaces_requests_and_tokens() -> None:
    now = 0.0
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        nonlocal now
        waits.append(seconds)
        now += seconds

    pace = Pace(requests_per_minute=120, tokens_per_minute=6_000, clock=lambda: now, sleep=sleep)
    for _ in range(21):
        pace.wait(10)
    assert now == pytest.approx(21 * 0.5 - 1.0 - 0.5, abs=0.51), "two a second, a second's worth at once"
    before = now
    pace.wait(600)  # six seconds' worth of tokens
    pace.wait(10)
    assert now - before == pytest.approx(6, abs=1.1)
    with pytest.raises(TeacherError):
        Pace(requests_per_minute=0)


FIELDS = (
    *("choices", "message", "content", "logprobs", "tokens", "token", "bytes", "usage", "index", "text"),
    *("token_logprobs", "top_logprobs", "logprob", "tool_calls", "refusal", "finish_reason", "model"),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=25,
)


@settings(deadline=None, max_examples=60)
@given(body=JSON, choices=st.none() | st.lists(JSON, max_size=3), top=st.sampled_from([None, 0, 5]))
def test_no_body_makes_it_crash(body: Any, choices: Any, top: int | None) -> None:
    if isinstance(body, dict) and choices is not None:
        body["choices"] = choices
    for endpoint in ("chat.completions", "completions"):
        ask = Ask(request_id="a", prompt="?", top_logprobs=top, endpoint=endpoint)
        found = read_body(json.dumps(body).encode(), ask, "m", latency_ms=1.0)
        assert found
        assert all(one.status in (200, 502) for one in found)
        assert len({one.choice for one in found}) == len(found)
