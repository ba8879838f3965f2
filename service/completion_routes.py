"""`POST /v1/chat/completions`, `POST /v1/completions`, and the list of models."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request

from kdguard.distill.teachers.protocol import Answer
from kdguard.service.gate import Gate
from kdguard.service.openai_bodies import completion_body
from kdguard.service.openai_errors import ApiError
from kdguard.service.openai_schema import ChatRequest, CompletionRequest
from kdguard.service.served import Served, raise_failure, resumed, while_connected
from kdguard.service.streaming import EventStream, sse
from kdguard.service.teacher_state import Called, Caller, check_model

router = APIRouter(prefix="/v1", route_class=Gate)


@router.post("/chat/completions", response_model=None)
async def create_chat_completion(body: ChatRequest, caller: Called, request: Request) -> Any:
    """Continue a conversation."""
    check_model(caller.state, body.model)
    ask = body.ask(f"chatcmpl-{caller.request_id}", caller.state.most_tokens)
    messages = [turn.model_dump(exclude_none=True) for turn in body.messages]
    served = Served(caller, ask, messages, streamed=bool(body.stream))
    if body.stream:
        return await _streamed(request, served, tells_usage=body.tells_usage)
    raise_failure(await while_connected(request, served.whole()))
    return served.chat_body()


@router.post("/completions", response_model=None)
async def create_completion(body: CompletionRequest, caller: Called, request: Request) -> Any:
    """Continue texts."""
    check_model(caller.state, body.model)
    asks = body.asks(f"cmpl-{caller.request_id}", caller.state.most_tokens)
    if body.stream:
        if len(asks) > 1:
            raise ApiError(400, "A stream must have one prompt.", param="prompt", code="invalid_value")
        return await _streamed(request, Served(caller, asks[0], streamed=True), tells_usage=body.tells_usage)
    all_served = [Served(caller, ask) for ask in asks]
    grouped = await while_connected(request, asyncio.gather(*(served.whole() for served in all_served)))
    for answers in grouped:
        raise_failure(answers)
    return completion_body(asks[0].request_id, caller.created, grouped, caller.state.vocabulary)


@router.get("/models")
def list_models(caller: Called) -> dict[str, Any]:
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


async def _streamed(request: Request, served: Served, *, tells_usage: bool) -> EventStream:
    """A stream; an ask that is refused at once still gets an error with a status."""
    events = served.events()
    try:
        first = await while_connected(request, anext(events))
        raise_failure([first] if isinstance(first, Answer) else [])
    except BaseException:
        await events.aclose()
        raise

    async def lines() -> AsyncGenerator[str, None]:
        async with aclosing(events):
            async for line in sse(served, resumed(first, events), tells_usage=tells_usage):
                yield line

    return EventStream(lines())
