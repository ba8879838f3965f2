"""Bad requests: each is an error in the shape of the API, and the server goes on."""

from __future__ import annotations

from typing import Any

import httpx
import openai
import pytest

from tests.service.asking import HELLO
from tests.service.test_completions import chat

AS_JSON = {"content-type": "application/json"}


@pytest.mark.parametrize(
    ("changed", "status", "param", "code"),
    [
        ({"model": "other"}, 404, "model", "model_not_found"),
        ({"temperature": "hot"}, 400, "temperature", "invalid_type"),
        ({"n": "3"}, 400, "n", "invalid_type"),
        ({"n": 1.5}, 400, "n", "invalid_type"),
        ({"n": True}, 400, "n", "invalid_type"),
        ({"n": 129}, 400, "n", "invalid_value"),
        ({"logprobs": "yes"}, 400, "logprobs", "invalid_type"),
        ({"seed": 1 << 63}, 400, "seed", "invalid_value"),
        ({"stop": [5]}, 400, "stop", "invalid_type"),
        ({"stop": ""}, 400, "stop", "invalid_value"),
        ({"model": 7}, 400, "model", "invalid_type"),
        ({"messages": "hello"}, 400, "messages", "invalid_type"),
        ({"messages": [{"role": "robot", "content": "x"}]}, 400, "messages[0].role", "invalid_value"),
        ({"messages": [*HELLO, {"role": "user"}]}, 400, "messages[2]", "invalid_value"),
        ({"messages": [{"content": "x"}]}, 400, "messages[0].role", "missing_required_parameter"),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]},
            400,
            "messages[0].tool_calls",
            "missing_required_parameter",
        ),
        ({"max_completion_tokens": 8}, 400, "max_tokens", "invalid_parameter_combination"),
        (
            {"max_tokens": openai.omit, "max_completion_tokens": 65},
            400,
            "max_completion_tokens",
            "invalid_value",
        ),
        ({"tools": [{"type": "retrieval"}]}, 400, "tools[0].type", "invalid_value"),
        (
            {"tools": [{"type": "function", "function": {"name": "a b"}}]},
            400,
            "tools[0].function",
            "invalid_value",
        ),
        ({"tool_choice": "required"}, 400, "tool_choice", "invalid_value"),
        ({"parallel_tool_calls": False}, 400, "parallel_tool_calls", "invalid_value"),
        ({"metadata": {"k": 5}, "store": True}, 400, "metadata", "invalid_type"),
        ({"temperature": 2.5}, 400, "temperature", "invalid_value"),
        ({"top_p": 0}, 400, "top_p", "invalid_value"),
        ({"n": 0}, 400, "n", "invalid_value"),
        ({"max_tokens": 65}, 400, "max_tokens", "invalid_value"),
        ({"logprobs": True, "top_logprobs": 21}, 400, "top_logprobs", "invalid_value"),
        ({"top_logprobs": 2}, 400, "top_logprobs", "invalid_value"),
        ({"logit_bias": {"5": 101}}, 400, "logit_bias", "invalid_value"),
        ({"logit_bias": {"x": 1}}, 400, "logit_bias", "invalid_value"),
        ({"logit_bias": {"99999": 1}}, 400, None, "invalid_value"),
        ({"stop": ["a"] * 5}, 400, "stop", "invalid_value"),
        ({"messages": []}, 400, "messages", "invalid_value"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            400,
            "messages[0].content",
            "invalid_value",
        ),
        ({"messages": [{"role": "user", "content": "x" * 2000}]}, 400, None, "context_length_exceeded"),
        ({"frequency_penalty": 0.5}, 400, "frequency_penalty", "invalid_value"),
        ({"response_format": {"type": "json_object"}}, 400, "response_format", "invalid_value"),
        ({"extra_body": {"no_such": 1}}, 400, "no_such", "unknown_parameter"),
        ({"store": True, "metadata": {f"k{at}": "v" for at in range(17)}}, 400, "metadata", "invalid_value"),
        ({"store": True, "metadata": {"k" * 65: "v"}}, 400, "metadata", "invalid_value"),
        ({"store": True, "metadata": {"k": "v" * 513}}, 400, "metadata", "invalid_value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else str(value),
)
def test_errors_have_the_shape_of_the_api(
    client: openai.OpenAI, changed: dict[str, Any], status: int, param: str | None, code: str
) -> None:
    for stream in (False, True):
        with pytest.raises(openai.APIStatusError) as caught:
            chat(client, stream=stream, **changed)
        error = caught.value
        assert isinstance(error.body, dict)
        assert (error.status_code, error.body["param"], error.body["code"]) == (status, param, code)
        assert error.body["type"] == "invalid_request_error"
        assert error.body["message"]


def test_what_is_not_even_a_request(url: str) -> None:
    with httpx.Client(base_url=url, headers={"authorization": "Bearer k"}) as raw:
        path = "/v1/chat/completions"
        lone = rb'{"model": "tiny", "messages": [{"role": "user", "content": "\ud800"}]}'
        loose = rb'{"model": "tiny", "messages": [{"role": "user", "content": "a"}], "temperature": NaN}'
        without_model = raw.post(path, json={"messages": HELLO})
        wrong_method = raw.put(path, json={})
        cases = [
            (raw.post(path, content=b'{"model": ', headers=AS_JSON), 400),
            (raw.post(path, content=b"\xff\xfe", headers=AS_JSON), 400),
            (raw.post(path, content=b"[" * 50_000, headers=AS_JSON), 400),
            (raw.post(path, content=lone, headers=AS_JSON), 400),
            (raw.post(path, content=loose, headers=AS_JSON), 400),
            (raw.post(path, content=b"x" * 200_000), 413),
            (raw.post(path, content=iter([b"x" * 90_000] * 3)), 413),
            (raw.post(path, json=[]), 400),
            (raw.post(path), 400),
            (raw.post("/v1/completions", json={"model": "tiny", "prompt": [1, 2, 3]}), 400),
            (raw.post("/v1/completions", json={"model": "tiny", "prompt": []}), 400),
            (raw.post("/v1/completions", json={"model": "tiny", "prompt": ["a", "b"], "stream": True}), 400),
            (raw.post("/v1/completions", json={"model": "tiny", "prompt": "a", "echo": True}), 400),
            (raw.get("/v1/nothing"), 404),
            (without_model, 400),
            (wrong_method, 405),
        ]
        for response, status in cases:
            assert response.status_code == status
            assert set(response.json()["error"]) == {"message", "type", "param", "code"}
        assert "model" in without_model.json()["error"]["message"]
        assert wrong_method.headers["allow"]


@pytest.mark.parametrize("levels", [100, 900, 5000])
def test_nested_tools_are_taken_or_refused(client: openai.OpenAI, url: str, levels: int) -> None:
    nested = b'{"a":' * levels + b"1" + b"}" * levels
    content = (
        b'{"model": "tiny", "max_tokens": 1, "messages": [{"role": "user", "content": "a"}], "tools": '
        b'[{"type": "function", "function": {"name": "f", "parameters": ' + nested + b"}}]}"
    )
    with httpx.Client(headers=AS_JSON | {"authorization": "Bearer k"}) as raw:
        response = raw.post(f"{url}/v1/chat/completions", content=content)
    assert response.status_code == (200 if levels == 100 else 400)
    assert chat(client).choices
