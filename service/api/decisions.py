"""Decisions inline: a route of ours, and the guardrail that any LiteLLM proxy can call."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from kdguard.service.api import examples
from kdguard.service.api.access import Caller, Decider, Reader, Serving
from kdguard.service.api.paging import Cursor, Limit, cursor_of, place_of
from kdguard.service.api.problems import RESPONSES, Problem
from kdguard.service.api.state import Service
from kdguard.service.gateway.deciding import Decided, Question
from kdguard.service.gateway.policy import Action, Ask
from kdguard.service.gateway.recording import decision_of, decisions_of
from kdguard.service.out.metrics import FAILED_OPEN

router = APIRouter(tags=["decisions"], responses=RESPONSES)


class DecideAsk(BaseModel):
    """What a gateway asks about one request."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"account_id": "acct-42", "texts": ["Grade this answer ..."], "asks": ["logprobs"]}]
        },
    )

    account_id: str | None = Field(None, max_length=1024)
    texts: list[Annotated[str, Field(max_length=1_000_000)]] = Field(default=[], max_length=256)
    model: str | None = Field(None, max_length=256)
    asks: list[Ask] = Field(default=[], max_length=8)
    call_id: str | None = Field(None, max_length=256)


class Told(BaseModel):
    """What to do, and why."""

    id: str | None = Field(
        description="Under which the decision is recorded; null where none was made in time."
    )
    actions: list[Action] = Field(description="What to do now.")
    would: list[Action] = Field(description="What the policy says; done unless this is a dry run.")
    applied: bool
    rule: str | None
    because: list[str]
    requests_per_minute: int | None = None
    max_tokens: int | None = None
    throttled: bool = Field(False, description="The account is over the rate of a rule that throttles.")


class Decisions(BaseModel):
    """A page of recorded decisions, newest first; accounts stand under salted names."""

    items: list[dict[str, Any]]
    next: str | None


class GuardrailAsk(BaseModel):
    """LiteLLM's generic guardrail API; what is not needed here is not read."""

    model_config = ConfigDict(extra="ignore", json_schema_extra={"examples": [examples.GUARDRAIL]})

    texts: list[str] | None = Field(None, max_length=4096)
    request_data: dict[str, Any] | None = None
    input_type: Literal["request", "response"] = "request"
    litellm_call_id: str | None = None
    model: str | None = None
    additional_provider_specific_params: dict[str, Any] | None = None


class GuardrailTold(BaseModel):
    """LiteLLM's answer."""

    action: Literal["NONE", "BLOCKED", "GUARDRAIL_INTERVENED"]
    blocked_reason: str | None = None
    texts: list[str] | None = None


@router.post("/v1/decide")
async def decide(asked: DecideAsk, caller: Decider, service: Serving) -> Told:
    """Decide about one request before it is answered; beyond the time limit it goes through, and is counted."""
    question = Question(
        account_id=asked.account_id,
        texts=asked.texts,
        model=asked.model,
        asks=frozenset(asked.asks),
        call_id=asked.call_id,
    )
    decided = await in_time(service, caller, question)
    if decided is None:
        why = f"no decision within {service.settings.decision_ms:g} ms; the request goes through"
        return Told(
            id=None,
            actions=[Action.ALLOW],
            would=[Action.ALLOW],
            applied=False,
            rule=None,
            because=[why],
            throttled=False,
        )
    return Told.model_validate(decided, from_attributes=True)


@router.post("/beta/litellm_basic_guardrail_api")
async def litellm_guardrail(asked: GuardrailAsk, caller: Decider, service: Serving) -> GuardrailTold:
    """Decide for a LiteLLM proxy. It can refuse and no more, so the policy's other actions are only recorded."""
    if asked.input_type == "response":
        return GuardrailTold(action="NONE")
    data = asked.request_data or {}
    question = Question(
        account_id=_account(data),
        texts=asked.texts or (),
        model=asked.model,
        call_id=asked.litellm_call_id and asked.litellm_call_id[:256],
    )
    decided = await in_time(service, caller, question)
    if decided is None or not refuses(decided):
        return GuardrailTold(action="NONE")
    return GuardrailTold(action="BLOCKED", blocked_reason=f"refused by policy; decision {decided.id}")


@router.get("/v1/decisions")
def list_decisions(
    caller: Reader,
    service: Serving,
    subject: Annotated[str | None, Query(pattern="^[0-9a-f]{32}$", description="Salted name.")] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Decisions:
    """Recorded decisions, the newest first."""
    about = f"{caller.tenant} decisions"
    place = place_of(service.secrets, about, cursor)
    before = (int(place[0]), str(place[1])) if place else None
    rows = decisions_of(service.database, caller.tenant, subject=subject, before=before, limit=limit + 1)
    items = rows[:limit]
    last = [items[-1]["at_us"], items[-1]["id"]] if len(rows) > limit else None
    return Decisions(items=items, next=cursor_of(service.secrets, about, last) if last else None)


@router.get("/v1/decisions/{decision}")
def get_decision(decision: str, caller: Reader, service: Serving) -> dict[str, Any]:
    """One recorded decision with its reasons, to answer an appeal from."""
    told = decision_of(service.database, caller.tenant, decision) if decision.isalnum() else None
    if told is None:
        raise Problem(404, "not-found", "there is no such decision")
    return told


async def in_time(service: Service, caller: Caller, question: Question) -> Decided | None:
    """A decision within the time limit; None beyond it, or where something failed: the request then goes through."""
    gateway, account = service.gateway, question.account_id
    if not gateway.facts.loaded(caller.tenant):
        asyncio.get_running_loop().run_in_executor(None, _load_quietly, service, caller.tenant)
    known = account is None or gateway.facts.remembered(caller.tenant, account) is not None
    try:
        if known and gateway.facts.has_salt(caller.tenant):  # nothing to wait for
            return gateway.decide(caller.tenant, question)
        async with asyncio.timeout(service.settings.decision_ms / 1e3):
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(gateway.threads, gateway.decide, caller.tenant, question)
    except TimeoutError:
        FAILED_OPEN.labels("time").inc()
    except Exception as error:
        FAILED_OPEN.labels(type(error).__name__).inc()
    return None


def refuses(decided: Decided) -> bool:
    """Whether a gateway that can only refuse should."""
    hard = {Action.BLOCK, Action.VERIFY} & set(decided.actions)
    return bool(hard) or (Action.THROTTLE in decided.actions and decided.throttled)


def _account(data: dict[str, Any]) -> str | None:
    """Who is billed, as the reader of LiteLLM's logs finds them: the user, else the key."""
    for name in ("user_api_key_user_id", "user_api_key_hash", "user_api_key_alias"):
        if isinstance(data.get(name), str) and data[name]:
            return str(data[name])[:1024]
    return None


def _load_quietly(service: Service, tenant: str) -> None:
    try:
        service.gateway.facts.load(tenant)
    except Exception as error:
        FAILED_OPEN.labels(f"classifier {type(error).__name__}").inc()
