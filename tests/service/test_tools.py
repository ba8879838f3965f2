"""Tool calls and reasoning, whole and streamed, and conversations that hold them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import openai
import pytest

from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.distill.teachers.reply import parse_reply
from kdguard.service.openai_messages import ChatMessage
from kdguard.service.streaming import Speaker
from kdguard.service.teacher import create_teacher_app
from tests.service.asking import TOOLS, ask, client
from tests.service.serving import serving


class Scripted:
    """Writes what it is told, whole."""

    name = "tiny"

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        for asked in asks:
            reply = parse_reply(asked.prompt, tools=asked.tools, key="k")
            yield Answer(
                request_id=asked.request_id,
                choice=0,
                model=self.name,
                finish_reason="tool_calls" if reply.tool_calls else "stop",
                response=reply.response,
                reasoning=reply.reasoning,
                tool_calls=reply.tool_calls,
            )


def test_tool_calls_and_reasoning_reach_the_client() -> None:
    wanted = '{"name": "add", "arguments": {"a": 1}}'
    with serving(create_teacher_app(Scripted())) as url, client(url) as asker:
        whole = ask(asker, wanted, tools=TOOLS).choices[0]
        assert whole.finish_reason == "tool_calls"
        assert whole.message.content is None
        assert whole.message.tool_calls[0].function.name == "add"
        assert json.loads(whole.message.tool_calls[0].function.arguments) == {"a": 1}
        with ask(asker, wanted, tools=TOOLS, stream=True) as stream:
            parts = [choice for part in stream for choice in part.choices]
        [called] = [call for part in parts for call in part.delta.tool_calls or ()]
        assert (called.index, called.id, called.function.name) == (0, whole.message.tool_calls[0].id, "add")
        assert parts[-1].finish_reason == "tool_calls"
        assert ask(asker, wanted, tools=TOOLS, tool_choice="none").choices[0].message.content == wanted
        thought = ask(asker, "<think>two and two</think>four").choices[0].message
        assert (thought.content, thought.reasoning_content) == ("four", "two and two")
        called_before: list[Any] = [
            {"role": "user", "content": "add"},
            whole.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": called.id, "content": "3"},
        ]
        assert ask(asker, messages=called_before).choices[0].message.content == ""


def test_tools_are_offered_and_text_comes_back(client: openai.OpenAI) -> None:
    told = ask(client, tools=TOOLS, tool_choice="auto", seed=1)
    assert told.choices[0].message.content
    with ask(client, tools=TOOLS, stream=True, seed=1) as stream:
        text = "".join(choice.delta.content or "" for part in stream for choice in part.choices)
    assert text == told.choices[0].message.content
    plain = ask(client, seed=1)
    assert told.usage.prompt_tokens > plain.usage.prompt_tokens, "the template was given the tools"


@pytest.mark.parametrize("arguments", ['{"a": 1}', '{"a": ', '"text"', "[" * 20_000])
def test_a_call_of_an_earlier_turn_is_written_as_models_write_it(arguments: str) -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": arguments}}
    message = ChatMessage.model_validate({"role": "assistant", "tool_calls": [call]})
    reply = parse_reply(message.turn().content, tools=json.dumps(TOOLS))
    assert reply.response is None
    [again] = json.loads(reply.tool_calls or "")
    told = again["function"]["arguments"]
    assert told == arguments or json.loads(told) == json.loads(arguments)


@pytest.mark.parametrize("written", ["<think>a b</think>four", "<thin air", "  <think", "plain €"])
@pytest.mark.parametrize("cut", [1, 3, 100])
def test_a_stream_holds_back_only_what_may_be_reasoning(written: str, cut: int) -> None:
    raw, reply = written.encode(), parse_reply(written)
    speaker = Speaker(Ask(request_id="a", prompt=""), 0, None)
    chunks = [part for at in range(0, len(raw), cut) for part in speaker.take(raw[at : at + cut], None)]
    said = "".join(part["delta"]["content"] for part in chunks)
    assert said == ("" if written.lstrip().startswith("<think") else written)
    answer = Answer(request_id="a", choice=0, model="m", response=reply.response, reasoning=reply.reasoning)
    last = speaker.finish(answer)
    whole = said + "".join(part["delta"].get("content", "") for part in last)
    assert whole == reply.response
    assert [part["delta"]["reasoning_content"] for part in last if "reasoning_content" in part["delta"]] == (
        [reply.reasoning] if reply.reasoning else []
    )
