"""What the routes of a teacher's API share: the state of the server, and who calls."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends, Request

from kdguard.distill.teachers.protocol import Answer, Ask
from kdguard.distill.transcripts.rows import exchange_rows
from kdguard.exchanges.tokens import TokenTrace
from kdguard.service.accounts import Account, Accounts
from kdguard.service.batching import Batcher
from kdguard.service.exchange_log import ExchangeLog
from kdguard.service.openai_errors import ApiError
from kdguard.service.rate_limit import RateLimit
from kdguard.service.stored_completions import StoredCompletions


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
        most_body_bytes: Largest request body.
        most_waiting: Choices that may wait or be under way.
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
    most_body_bytes: int
    most_waiting: int
    trusts_forwarded: bool


@dataclass(slots=True, kw_only=True)
class Caller:
    """Who sent a request, and when.

    Attributes:
        state: The server.
        account: Whose key it was.
        request_id: Names the request in the log and in the header `x-request-id`.
        endpoint: What was called, as the log names it.
        client_ip: Address it came from.
        user_agent: As the client says.
        time: When it arrived.
        began: The same on the clock that latencies are measured with.
        is_logged: The log has this request.
    """

    state: TeacherState
    account: Account
    request_id: str
    endpoint: str
    client_ip: str | None
    user_agent: str | None
    time: datetime
    began: float
    is_logged: bool = False

    @property
    def created(self) -> int:
        """When it arrived, in Unix seconds."""
        return int(self.time.timestamp())

    def log(self, ask: Ask, answers: Sequence[Answer]) -> None:
        """Log an exchange.

        Raises:
            TeacherError: The disk is full.
        """
        self._write(exchange_rows(ask, answers, **self._columns()))

    def log_refusal(self, status: int) -> None:
        """Log a request that was refused before it became an ask; nothing if it is logged already.

        Raises:
            TeacherError: The disk is full.
        """
        if not self.is_logged:
            row = {"request_id": f"req-{self.request_id}", "choice": 0, "status": status}
            row |= {"account_id": self.account.account_id, "endpoint": self.endpoint, "content_missing": True}
            self._write([row | self._columns()])

    def _write(self, rows: list[dict[str, Any]]) -> None:
        if self.state.log is not None:
            self.state.log.write(rows)
        self.is_logged = True

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


def caller_of(request: Request) -> Caller:
    """Who sent a request, as the gate found."""
    caller: Caller = request.state.caller
    return caller


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


State = Annotated[TeacherState, Depends(state_of)]
Called = Annotated[Caller, Depends(caller_of)]
