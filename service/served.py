"""One ask and what its client got of it: logged once, however its connection ends."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import Request

from kdguard.distill.teachers.protocol import Answer, Ask, failed
from kdguard.service.openai_bodies import chat_body
from kdguard.service.openai_errors import INVALID, ApiError
from kdguard.service.teacher_state import Caller

CLOSED = 499
"""Status in the log of a request whose connection ended before anything was told, as web servers write it."""
_CODED = re.compile(r"([a-z][a-z_]+): (.*)", re.DOTALL)
T = TypeVar("T")


class Served:
    """An ask under way.

    Args:
        caller: Who asked.
        ask: What.
        messages: The conversation as it came, to be kept if the ask says `store`.
        streamed: The client is told pieces as they come, not all at the end.

    Raises:
        ApiError: 503, more choices wait than the server holds.
    """

    def __init__(
        self,
        caller: Caller,
        ask: Ask,
        messages: Sequence[dict[str, Any]] = (),
        *,
        streamed: bool = False,
    ) -> None:
        state = caller.state
        if state.batcher.load + ask.n > state.most_waiting:
            raise ApiError(
                503,
                "The server is overloaded. Try again in a moment.",
                kind="server_error",
                code="overloaded",
                headers={"retry-after": "1"},
            )
        self.caller, self.ask = caller, replace(ask, account_id=caller.account.account_id)
        self._messages, self._streamed, self._is_logged = list(messages), streamed, False
        self.answers: list[Answer] = []
        self._begun: dict[int, list[Any]] = {}

    async def events(self) -> AsyncGenerator[Any, None]:
        """Pieces and answers as they come.

        The log has the ask before the last answer is given out, or when this ends early; the teacher is then rid of it.
        """
        ended = False
        async with aclosing(self.caller.state.batcher.events(self.ask)) as events:
            try:
                async for event in events:
                    self._take(event)
                    yield event
                ended = True
            finally:
                self._log(ended=ended)

    async def whole(self) -> list[Answer]:
        """Wait for all answers."""
        async with aclosing(self.events()) as events:
            async for _ in events:
                pass
        return self.answers

    def chat_body(self) -> dict[str, Any]:
        """The answers as a chat completion."""
        body = chat_body(self.ask.request_id, self.caller.created, self.answers, self.caller.state.vocabulary)
        return body | ({"metadata": dict(self.ask.metadata)} if self.ask.store else {})

    def _take(self, event: Any) -> None:
        """Remember what comes; log and keep the ask once that was all."""
        if not isinstance(event, Answer):
            self._begun.setdefault(event.key[1], []).append(event)
            return
        self.answers.append(event)
        self._begun.pop(event.choice, None)
        if len(self.answers) == self.ask.n:
            self._log(ended=True)
            if self.ask.store and all(answer.status == 200 for answer in self.answers):
                caller = self.caller
                caller.state.stored.add(caller.account.account_id, self.chat_body(), self._messages)

    def _log(self, *, ended: bool) -> None:
        """Log all that the client may have seen: whole choices, and those that were cut off as far as they came."""
        if self._is_logged:
            return
        self._is_logged = True
        cut = [self._cut(choice, pieces) for choice, pieces in self._begun.items()]
        seen = [*self.answers, *cut] if ended or self._streamed else []
        if not seen:
            reason = "connection closed before the answer"
            seen = [failed(self.ask, self.caller.state.model, status=CLOSED, error=reason)]
        self.caller.log(self.ask, seen)

    def _cut(self, choice: int, pieces: list[Any]) -> Answer:
        return Answer(
            request_id=self.ask.request_id,
            choice=choice,
            model=self.caller.state.model,
            response=b"".join(piece.text for piece in pieces).decode("utf-8", "replace"),
            output_tokens=sum(len(piece.token_ids) for piece in pieces),
        )


async def while_connected(request: Request, work: Awaitable[T]) -> T:
    """Wait for something as long as the client does.

    Raises:
        ApiError: 499, it closed its connection; the work was cancelled.
    """
    waiting = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait((waiting, leaving), return_when=asyncio.FIRST_COMPLETED)
        if waiting.done():
            return waiting.result()
        raise ApiError(CLOSED, "The client closed its connection.")
    finally:
        for task in (waiting, leaving):
            task.cancel()
        await asyncio.gather(waiting, leaving, return_exceptions=True)


async def _left(request: Request) -> None:
    """Return when the client closes its connection; the body must have been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def raise_failure(answers: list[Answer]) -> None:
    """Tell the client of an answer that is an error.

    Raises:
        ApiError: With the status and the reason of the first such answer.
    """
    for answer in answers:
        if answer.status != 200:
            coded = _CODED.fullmatch(answer.error or "")
            code, message = (coded[1], coded[2]) if coded else (None, answer.error or "no answer")
            kind = INVALID if answer.status < 500 else "server_error"
            raise ApiError(answer.status, message, kind=kind, code=code)


async def resumed(first: T, rest: AsyncIterator[T]) -> AsyncGenerator[T, None]:
    """An iteration whose first value was taken out to look at it."""
    yield first
    async for value in rest:
        yield value
