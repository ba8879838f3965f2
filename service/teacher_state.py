"""What the routes of a teacher's API share, and what they do with callers and answers."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Request, Response

from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.distill.transcripts.rows import exchange_rows
from kdguard.exchanges.tokens import TokenTrace
from kdguard.service.accounts import Account, Accounts
from kdguard.service.batching import Batcher
from kdguard.service.exchange_log import ExchangeLog
from kdguard.service.openai_errors import INVALID, ApiError
from kdguard.service.rate_limit import RateLimit
from kdguard.service.stored_completions import StoredCompletions

_CODED = re.compile(r"([a-z][a-z_]+): (.*)", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherState:
    """Everything a running server holds.

    Attributes:
        model: Name that clients ask for.
        created: Unix seconds of its start.
        batcher: The teacher's thread.
        accounts: Who may call.
        rate: Requests so far.
        requests_per_minute: Limit of accounts that have none of their own.
        stored: Kept completions.
        log: Where exchanges are logged.
        vocabulary: Bytes by token id.
        trace: Makes tokens of a piece of text that came out.
        most_tokens: Largest `max_tokens`.
        trusts_forwarded: Take the caller's address from `X-Forwarded-For`.
    """

    model: str
    created: int
    batcher: Batcher
    accounts: Accounts
    rate: RateLimit
    requests_per_minute: float | None
    stored: StoredCompletions
    log: ExchangeLog | None
    vocabulary: Sequence[bytes] | None
    trace: Callable[[Any], TokenTrace | None] | None
    most_tokens: int
    trusts_forwarded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who sent a request, and when."""

    state: TeacherState
    account: Account
    client_ip: str | None
    user_agent: str | None
    time: datetime
    began: float

    def log(self, ask: Ask, answers: Sequence[Answer]) -> None:
        """Log an exchange."""
        if self.state.log is not None and answers:
            self.state.log.write(exchange_rows(ask, answers, **self._columns()))

    def refused(self, endpoint: str, status: int) -> None:
        """Log a request that was refused before it became an ask."""
        if self.state.log is not None:
            row = {"request_id": new_id("req-"), "choice": 0, "account_id": self.account.account_id}
            row |= {"endpoint": endpoint, "status": status, "content_missing": True}
            self.state.log.write([row | self._columns()])

    def _columns(self) -> dict[str, Any]:
        return {
            "time": self.time,
            "org_id": self.account.org_id,
            "key_hash": self.account.key_hash[:16],
            "client_ip": self.client_ip,
            "user_agent": self.user_agent,
            "latency_ms": (time.perf_counter() - self.began) * 1e3,
            "origin": "log",
            "source_format": "kdguard-teacher",
        }


def state_of(request: Request) -> TeacherState:
    """The state of the app that serves a request."""
    state: TeacherState = request.app.state.teacher
    return state


def caller_of(
    request: Request, response: Response, state: Annotated[TeacherState, Depends(state_of)]
) -> Caller:
    """Check the key and count the request.

    Raises:
        ApiError: 401 for an unknown key, 429 above the limit.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    account = state.accounts.find(key.strip() if scheme.lower() == "bearer" else None)
    if account is None:
        raise ApiError(
            401,
            "Incorrect API key provided. Send a known key as 'Authorization: Bearer KEY'.",
            code="invalid_api_key",
        )
    caller = Caller(
        state=state,
        account=account,
        client_ip=_address(request, trusts_forwarded=state.trusts_forwarded),
        user_agent=request.headers.get("user-agent"),
        time=datetime.now(UTC),
        began=time.perf_counter(),
    )
    if request.method == "POST":
        request.state.refused = partial(
            caller.refused, request.url.path.removeprefix("/v1/").replace("/", ".")
        )
    per_minute = account.requests_per_minute or state.requests_per_minute
    if per_minute is not None:
        allowance = state.rate.take(account.account_id, per_minute)
        response.headers.update(allowance.headers())
        if not allowance.allowed:
            raise ApiError(
                429,
                f"Rate limit reached: {per_minute:g} requests a minute. Try again in {allowance.wait_s:.1f} s.",
                kind="requests",
                code="rate_limit_exceeded",
                headers=allowance.headers(),
            )
    return caller


def _address(request: Request, *, trusts_forwarded: bool) -> str | None:
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    if trusts_forwarded and forwarded:
        return forwarded
    return request.client.host if request.client else None


def check_model(state: TeacherState, model: str) -> None:
    """Refuse other models.

    Raises:
        ApiError: 404.
    """
    if model != state.model:
        raise ApiError(
            404,
            f"The model '{model}' does not exist. This server has '{state.model}'.",
            param="model",
            code="model_not_found",
        )


def owned(caller: Caller, ask: Ask) -> Ask:
    """The ask with its account."""
    return replace(ask, account_id=caller.account.account_id)


def raise_failure(answers: Sequence[Answer]) -> None:
    """Tell the client of an answer that is an error.

    Raises:
        ApiError: With the status and reason of the answer.
    """
    for answer in answers:
        if answer.status != 200:
            coded = _CODED.fullmatch(answer.error or "")
            code, message = (coded[1], coded[2]) if coded else (None, answer.error or "no answer")
            kind = INVALID if answer.status < 500 else "server_error"
            raise ApiError(answer.status, message, kind=kind, code=code)


def new_id(prefix: str) -> str:
    """A fresh id."""
    return prefix + uuid.uuid4().hex


State = Annotated[TeacherState, Depends(state_of)]
Called = Annotated[Caller, Depends(caller_of)]
