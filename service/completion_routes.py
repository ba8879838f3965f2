"""`POST /v1/chat/completions`, `POST /v1/completions`, and the list of models."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse, StreamingResponse

from kdguard.distill.teachers.protocol import CHAT, Answer, Ask
from kdguard.service.openai_bodies import chat_body, completion_body
from kdguard.service.openai_errors import ApiError
from kdguard.service.openai_schema import ChatRequest, CompletionRequest
from kdguard.service.streaming import sse
from kdguard.service.teacher_state import Called, Caller, State, check_model, new_id, owned, raise_failure

router = APIRouter(prefix="/v1")


@router.post("/chat/completions", response_model=None)
async def create_chat_completion(body: ChatRequest, caller: Called) -> Any:
    """Continue a conversation."""
    check_model(caller.state, body.model)
    created, ask = int(time.time()), owned(caller, body.ask(new_id("chatcmpl-"), caller.state.most_tokens))
    messages = [turn.model_dump(exclude_none=True) for turn in body.messages]
    if body.stream:
        tells_usage = body.stream_options is not None and body.stream_options.include_usage
        return await _streamed(caller, ask, created, messages, tells_usage=tells_usage)
    answers = await _answers(caller, ask)
    return _kept(caller, ask, chat_body(ask.request_id, created, answers, caller.state.vocabulary), messages)


@router.post("/completions", response_model=None)
async def create_completion(body: CompletionRequest, caller: Called) -> Any:
    """Continue texts."""
    check_model(caller.state, body.model)
    created = int(time.time())
    asks = [owned(caller, ask) for ask in body.asks(new_id("cmpl-"), caller.state.most_tokens)]
    if body.stream:
        if len(asks) > 1:
            raise ApiError(400, "A stream must have one prompt.", param="prompt", code="invalid_value")
        tells_usage = body.stream_options is not None and body.stream_options.include_usage
        return await _streamed(caller, asks[0], created, [], tells_usage=tells_usage)
    grouped = await asyncio.gather(*(_answers(caller, ask) for ask in asks))
    return completion_body(asks[0].request_id, created, grouped, caller.state.vocabulary)


@router.get("/models")
def list_models(state: State, caller: Called) -> dict[str, Any]:
    """The one model of this server."""
    return {"object": "list", "data": [_model(caller)]}


@router.get("/models/{model:path}")
def retrieve_model(model: str, caller: Called) -> dict[str, Any]:
    """One model."""
    check_model(caller.state, model)
    return _model(caller)


def _model(caller: Caller) -> dict[str, Any]:
    state = caller.state
    return {"id": state.model, "object": "model", "created": state.created, "owned_by": "kdguard"}


async def _answers(caller: Caller, ask: Ask) -> list[Answer]:
    """All choices of an ask, logged.

    Raises:
        ApiError: The teacher refused or failed.
    """
    events = caller.state.batcher.events(ask)
    answers = [event async for event in events if isinstance(event, Answer)]
    caller.log(ask, answers)
    if any(answer.status != 200 for answer in answers):
        _told_in_log(caller, answers)
    return answers


def _told_in_log(caller: Caller, answers: list[Answer]) -> None:
    """Raise for a failure that stands in the log already."""
    try:
        raise_failure(answers)
    except ApiError as error:
        error.is_logged = True
        raise


def _kept(caller: Caller, ask: Ask, body: dict[str, Any], messages: list[dict[str, Any]]) -> dict[str, Any]:
    """The body, stored if the client asked for that."""
    if ask.store and ask.endpoint == CHAT:
        body = body | {"metadata": dict(ask.metadata)}
        caller.state.stored.add(caller.account.account_id, body, messages)
    return body


async def _streamed(
    caller: Caller, ask: Ask, created: int, messages: list[dict[str, Any]], *, tells_usage: bool
) -> StreamingResponse | JSONResponse:
    """A stream; an ask that is refused at once still gets an error with a status."""
    events = caller.state.batcher.events(ask)
    first = await anext(events)
    if isinstance(first, Answer) and first.status != 200:
        caller.log(ask, [first])
        _told_in_log(caller, [first])
    done: list[Answer] = []

    async def all_events() -> AsyncIterator[Any]:
        yield first
        async for event in events:
            yield event

    async def lines() -> AsyncIterator[str]:
        try:
            async for line in sse(caller, ask, created, all_events(), done, tells_usage=tells_usage):
                yield line
        finally:  # also when the client went away: what it was told is logged
            await events.aclose()  # type: ignore[attr-defined]
            caller.log(ask, done)
        if len(done) == ask.n and all(answer.status == 200 for answer in done):
            _kept(caller, ask, chat_body(ask.request_id, created, done, caller.state.vocabulary), messages)

    return StreamingResponse(lines(), media_type="text/event-stream", headers={"cache-control": "no-cache"})
