"""The server, spoken to by the real client."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from kdguard.distill.teachers.endpoint import EndpointTeacher
from kdguard.distill.teachers.protocol import Ask, Message
from tests.service.asking import HELLO
from tests.service.conftest import tiny_teacher


def chat(client: openai.OpenAI, **changed: Any) -> Any:
    asked: dict[str, Any] = {"model": "tiny", "messages": HELLO, "max_tokens": 12, "seed": 1}
    return client.chat.completions.create(**(asked | changed))


def test_a_chat_completion(client: openai.OpenAI) -> None:
    told = chat(client, n=3, logprobs=True, top_logprobs=20)
    assert told.object == "chat.completion"
    assert told.model == "tiny"
    assert [choice.index for choice in told.choices] == [0, 1, 2]
    assert len({choice.message.content for choice in told.choices}) == 3
    for choice in told.choices:
        assert choice.message.role == "assistant"
        assert choice.finish_reason in ("stop", "length")
        tokens = choice.logprobs.content
        assert (
            b"".join(bytes(token.bytes) for token in tokens).decode("utf-8", "replace")
            == choice.message.content
        )
        for token in tokens:
            assert len(token.top_logprobs) == 20
            values = [top.logprob for top in token.top_logprobs]
            assert values == sorted(values, reverse=True)
            assert sum(math.exp(value) for value in values) <= 1.0001
            assert token.logprob <= values[0] + 1e-6
    counted = sum(len(choice.logprobs.content) for choice in told.choices)
    assert told.usage.completion_tokens == counted
    assert told.usage.total_tokens == told.usage.prompt_tokens + counted


def test_the_same_seed_gives_the_same_text_whoever_else_asks(client: openai.OpenAI) -> None:
    alone = chat(client, seed=5).choices[0].message.content
    with ThreadPoolExecutor(12) as pool:
        texts = list(pool.map(lambda at: chat(client, seed=5 + at % 3).choices[0].message.content, range(24)))
    assert texts[::3] == [alone] * 8
    assert len(set(texts)) == 3


def test_temperature_zero_stop_and_limits(client: openai.OpenAI) -> None:
    greedy = chat(client, temperature=0, max_completion_tokens=20, max_tokens=openai.omit).choices[0]
    assert (
        greedy.message.content
        == chat(client, temperature=0, max_tokens=20, seed=9).choices[0].message.content
    )
    letter = next(char for char in greedy.message.content[2:] if char.isascii())
    cut = chat(client, temperature=0, max_tokens=20, stop=[letter, "\x00"]).choices[0]
    assert cut.message.content == greedy.message.content[: greedy.message.content.index(letter)]
    assert cut.finish_reason == "stop"
    assert (
        chat(client, max_tokens=1, temperature=0, logit_bias={"0": -100}).choices[0].finish_reason == "length"
    )


def test_logit_bias_moves_tokens_but_not_logprobs(client: openai.OpenAI) -> None:
    plain = chat(client, max_tokens=1, temperature=0, logprobs=True, top_logprobs=5, logit_bias={"0": -100})
    forced = chat(client, max_tokens=1, temperature=0, logprobs=True, top_logprobs=5, logit_bias={"100": 100})
    one, other = (told.choices[0].logprobs.content[0] for told in (plain, forced))
    assert bytes(other.bytes) == tiny_teacher().token_bytes[100]
    assert [top.bytes for top in one.top_logprobs] == [top.bytes for top in other.top_logprobs]
    np.testing.assert_allclose(
        np.array([top.logprob for top in one.top_logprobs]),
        np.array([top.logprob for top in other.top_logprobs]),
        atol=1e-5,
    )


@pytest.mark.parametrize("n", [1, 3])
def test_a_stream_spells_the_same_answer(client: openai.OpenAI, n: int) -> None:
    whole = chat(client, n=n, logprobs=True, top_logprobs=2, max_tokens=30)
    texts, reasons = dict.fromkeys(range(n), ""), dict[int, str]()
    tokens: dict[int, list[Any]] = {at: [] for at in range(n)}
    usage = None
    with chat(
        client,
        n=n,
        logprobs=True,
        top_logprobs=2,
        max_tokens=30,
        stream=True,
        stream_options={"include_usage": True},
    ) as stream:
        for part in stream:
            usage = part.usage or usage
            for choice in part.choices:
                texts[choice.index] += choice.delta.content or ""
                if choice.logprobs:
                    tokens[choice.index] += choice.logprobs.content
                if choice.finish_reason:
                    reasons[choice.index] = choice.finish_reason
    for choice in whole.choices:
        assert texts[choice.index] == choice.message.content
        assert [token.bytes for token in tokens[choice.index]] == [
            token.bytes for token in choice.logprobs.content
        ]
        assert reasons[choice.index] == choice.finish_reason
    assert usage == whole.usage


def test_completions_and_their_stream(client: openai.OpenAI) -> None:
    asked: dict[str, Any] = {"model": "tiny", "max_tokens": 10, "seed": 2, "logprobs": 3}
    told = client.completions.create(prompt=["A student", "The price"], n=2, **asked)
    assert [choice.index for choice in told.choices] == [0, 1, 2, 3]
    [alone] = client.completions.create(prompt="A student", **asked).choices
    assert alone.text == told.choices[0].text
    logprobs = alone.logprobs
    assert logprobs is not None
    assert logprobs.tokens is not None
    assert logprobs.top_logprobs is not None
    assert logprobs.text_offset is not None
    assert all(3 <= len(top) <= 4 for top in logprobs.top_logprobs)
    for token, offset in zip(logprobs.tokens, logprobs.text_offset, strict=True):
        assert token.startswith("bytes:") or alone.text[offset:].startswith(token)
    with client.completions.create(prompt="A student", stream=True, **asked) as stream:
        parts = [choice for chunk in stream for choice in chunk.choices]
    assert "".join(part.text for part in parts) == alone.text
    assert [name for part in parts if part.logprobs for name in part.logprobs.tokens or ()] == logprobs.tokens
    assert parts[-1].finish_reason == alone.finish_reason


def test_models_health_and_docs(client: openai.OpenAI, url: str) -> None:
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "kdguard"
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("other")
    with httpx.Client(base_url=url) as raw:
        assert raw.get("/healthz").json() == {"status": "ok"}
        assert raw.get("/docs").status_code == 200
        described = raw.get("/openapi.json").json()
    assert {"/v1/chat/completions", "/v1/completions", "/v1/models"} <= set(described["paths"])
    assert "top_logprobs" in described["components"]["schemas"]["ChatRequest"]["properties"]


def test_our_own_endpoint_teacher_gets_what_the_local_one_answers(url: str) -> None:
    local, remote = tiny_teacher(), EndpointTeacher(f"{url}/v1", "tiny", concurrency=4)
    asks = [
        Ask(
            request_id=f"r{at}",
            prompt="And now?",
            system="Be brief." if at % 2 else None,
            history=(Message("user", "Hi"), Message("assistant", "Hello")) if at % 3 else (),
            n=1 + at % 2,
            seed=at,
            top_p=0.9,
            max_tokens=10,
            stop=("e",),
            top_logprobs=5,
            logit_bias={7: 2.0},
            endpoint="completions" if at == 4 else "chat.completions",
        )
        for at in range(6)
    ]
    near = {(answer.request_id, answer.choice): answer for answer in local.answer(asks)}
    far = {(answer.request_id, answer.choice): answer for answer in remote.answer(asks)}
    remote.close()
    assert near.keys() == far.keys()
    for key, one in near.items():
        other = far[key]
        assert (other.status, other.error) == (200, None)
        assert (one.response, one.finish_reason) == (other.response, other.finish_reason)
        assert (one.input_tokens, one.output_tokens) == (other.input_tokens, other.output_tokens)
        assert one.tokens is not None
        assert other.tokens is not None
        assert one.tokens.token_bytes == other.tokens.token_bytes
        np.testing.assert_allclose(one.tokens.logprob, other.tokens.logprob, atol=2e-5)
