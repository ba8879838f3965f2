"""Answers as server-sent events, while they are being written."""

from __future__ import annotations

import codecs
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any

from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from kdguard.distill.teachers.protocol import CHAT, Answer, Ask
from kdguard.exchanges.tokens import TokenTrace
from kdguard.service.openai_bodies import (
    Vocabulary,
    chat_logprobs,
    chunk,
    completion_logprobs,
    message,
    usage,
)
from kdguard.service.openai_errors import ApiError
from kdguard.service.served import Served, raise_failure

_THINKING = "<think>"


class EventStream(StreamingResponse):
    """A stream of events whose source is closed at once when the client is gone."""

    media_type = "text/event-stream"

    def __init__(self, lines: AsyncGenerator[str, None]) -> None:
        super().__init__(lines, headers={"cache-control": "no-cache"})
        self._lines = lines

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        async with aclosing(self._lines):
            await super().__call__(scope, receive, send)


class Speaker:
    """Turns what one choice writes into the choices of chunks.

    Text is told as it comes, unless it may be something else in the end: a tool call where tools were offered, or
    reasoning. Then all of it is told when the choice is done.
    """

    def __init__(self, ask: Ask, choice: int, vocabulary: Vocabulary) -> None:
        self._chat, self._choice, self._vocabulary = ask.endpoint == CHAT, choice, vocabulary
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held: str | None = "" if self._chat else None
        self._waits = ask.tools is not None
        self._traces: list[TokenTrace] = []
        self._told = 0

    def begin(self) -> dict[str, Any]:
        """The first chunk of a chat choice names the role."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def take(self, text: bytes, trace: TokenTrace | None) -> list[dict[str, Any]]:
        """What a piece of text adds."""
        written = self._decoder.decode(text)
        if trace is not None and len(trace):
            self._traces.append(trace)
        if self._held is not None:
            self._held += written
            begun = self._held.lstrip()[: len(_THINKING)]
            if self._waits or _THINKING.startswith(begun):
                return []
            written, self._held = self._held, None
        return self._text(written)

    def finish(self, answer: Answer) -> list[dict[str, Any]]:
        """What remains when a choice is done."""
        rest = self._decoder.decode(b"", final=True)
        if self._held is None:
            told = self._text(rest)
        elif self._chat:
            whole = {
                name: value for name, value in message(answer).items() if value is not None and name != "role"
            }
            calls = [dict(call, index=at) for at, call in enumerate(whole.pop("tool_calls", []))]
            whole |= {"tool_calls": calls} if calls else {}
            told = [self._chunk(whole, logprobs=chat_logprobs(answer.tokens, self._vocabulary))]
        else:
            told = []
        reason = answer.finish_reason or "stop"
        return [*told, self._chunk({} if self._chat else "", reason=reason)]

    def _text(self, written: str) -> list[dict[str, Any]]:
        if not written and not self._traces:
            return []
        told = [self._chunk({"content": written} if self._chat else written, logprobs=self._logprobs())]
        self._told += len(written)
        return told

    def _logprobs(self) -> dict[str, Any] | None:
        """Of the tokens since the last chunk."""
        traces, self._traces = self._traces, []
        if self._chat:
            parts = [chat_logprobs(trace, self._vocabulary) for trace in traces]
            content = [token for part in parts if part is not None for token in part["content"]]
            return {"content": content, "refusal": None} if content else None
        whole: dict[str, Any] = {}
        for trace in traces:
            part = completion_logprobs(trace, self._vocabulary, self._told) or {}
            whole = {name: (whole.get(name) or []) + (values or []) for name, values in part.items()}
        return whole or None

    def _chunk(self, said: Any, *, logprobs: Any = None, reason: str | None = None) -> dict[str, Any]:
        name = "delta" if self._chat else "text"
        return {"index": self._choice, name: said, "logprobs": logprobs, "finish_reason": reason}


async def sse(served: Served, events: AsyncIterator[Any], *, tells_usage: bool) -> AsyncGenerator[str, None]:
    """Events of one ask as the lines of a stream.

    Args:
        served: What was asked, and what was answered so far.
        events: Pieces and answers.
        tells_usage: End with a chunk of token counts.
    """
    state, ask = served.caller.state, served.ask
    speakers = [Speaker(ask, choice, state.vocabulary) for choice in range(ask.n)]

    def line(choice: dict[str, Any] | None, **more: Any) -> str:
        extra = {"usage": None} | more if tells_usage else more
        return _line(chunk(ask.request_id, served.caller.created, state.model, ask.endpoint, choice, **extra))

    if ask.endpoint == CHAT:
        for speaker in speakers:
            yield line(speaker.begin())
    async for event in events:
        if isinstance(event, Answer):
            try:
                raise_failure([event])
            except ApiError as error:
                yield _line(error.body())
                return
            said = speakers[event.choice].finish(event)
        else:
            trace = state.trace(event) if state.trace is not None else None
            said = speakers[event.key[1]].take(event.text, trace)
        for choice in said:
            yield line(choice)
    if tells_usage:
        yield line(None, usage=usage(served.answers))
    yield "data: [DONE]\n\n"


def _line(told: dict[str, Any]) -> str:
    return f"data: {json.dumps(told)}\n\n"
