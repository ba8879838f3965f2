"""Stored completions: list, read, label and delete them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request

from kdguard.service.gate import Gate
from kdguard.service.openai_errors import ApiError
from kdguard.service.openai_schema import MetadataRequest
from kdguard.service.stored_completions import Kept, page_of
from kdguard.service.teacher_state import Called, Caller

router = APIRouter(prefix="/v1/chat/completions", route_class=Gate)
Limit = Annotated[int, Query(ge=1, le=100)]
Order = Literal["asc", "desc"]


@router.get("")
def list_stored(
    request: Request,
    caller: Called,
    model: str | None = None,
    after: str | None = None,
    limit: Limit = 20,
    order: Order = "asc",
) -> dict[str, Any]:
    """A page of the caller's completions; `metadata[key]=value` filters by labels."""
    labels = {
        name.removeprefix("metadata[").removesuffix("]"): value
        for name, value in request.query_params.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    try:
        return caller.state.stored.list(
            caller.account.account_id, model=model, metadata=labels, after=after, limit=limit, order=order
        )
    except LookupError as error:
        raise _missing(str(after)) from error


@router.get("/{completion_id}")
def retrieve_stored(completion_id: str, caller: Called) -> dict[str, Any]:
    """One completion."""
    return _kept(caller, completion_id).body


@router.get("/{completion_id}/messages")
def list_messages(
    completion_id: str, caller: Called, after: str | None = None, limit: Limit = 20, order: Order = "asc"
) -> dict[str, Any]:
    """What a completion was asked."""
    kept = _kept(caller, completion_id)
    turns = [turn | {"id": f"{completion_id}-{at}"} for at, turn in enumerate(kept.messages)]
    turns = turns if order == "asc" else turns[::-1]
    start = next((at + 1 for at, turn in enumerate(turns) if turn["id"] == after), 0)
    return page_of(turns[start : start + limit], has_more=start + limit < len(turns))


@router.post("/{completion_id}")
def update_stored(completion_id: str, body: MetadataRequest, caller: Called) -> dict[str, Any]:
    """Replace the labels of a completion."""
    kept = caller.state.stored.update(caller.account.account_id, completion_id, body.metadata)
    if kept is None:
        raise _missing(completion_id)
    return kept.body


@router.delete("/{completion_id}")
def delete_stored(completion_id: str, caller: Called) -> dict[str, Any]:
    """Forget a completion."""
    if not caller.state.stored.delete(caller.account.account_id, completion_id):
        raise _missing(completion_id)
    return {"object": "chat.completion.deleted", "id": completion_id, "deleted": True}


def _kept(caller: Caller, completion_id: str) -> Kept:
    kept = caller.state.stored.get(caller.account.account_id, completion_id)
    if kept is None:
        raise _missing(completion_id)
    return kept


def _missing(completion_id: str) -> ApiError:
    return ApiError(
        404, f"No completion found with id '{completion_id}'.", param="completion_id", code="not_found"
    )
