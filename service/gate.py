"""In front of every route: who calls, how often, and how much; and a line in the log for what is refused.

It stands before the body is read, so that a stranger costs no more than the head of a request.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import AsyncGenerator, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from kdguard.service.openai_errors import ApiError, api_error
from kdguard.service.rate_limit import Allowance
from kdguard.service.teacher_state import Caller, TeacherState, state_of

LOG = logging.getLogger("uvicorn.error")


class Gate(APIRoute):
    """A route behind the gate; its handler finds the caller by `teacher_state.caller_of`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler with the gate in front."""
        handle = super().get_route_handler()

        async def guarded(request: Request) -> Response:
            state, name = state_of(request), uuid.uuid4().hex
            allowance: Allowance | None = None
            caller: Caller | None = None
            try:
                caller = _caller(request, state, name)
                allowance = _allowance(caller)
                if allowance is not None and not allowance.allowed:
                    raise _too_many(allowance)
                request.state.caller = caller
                response = await handle(_Bounded(request, state.most_body_bytes))
            except (ApiError, RequestValidationError, HTTPException) as error:
                told = api_error(error, request)
                if caller is not None and request.method == "POST":
                    caller.log_refusal(told.status)
                response = told.response()
            except Exception as error:
                # here and not further out, where the server would end the connection before its client has read
                LOG.exception("request failed")
                response = api_error(error, request).response()
            response.headers.update({"x-request-id": f"req-{name}"})
            response.headers.update({} if allowance is None else allowance.headers())
            return response

        return guarded


class _Bounded(Request):
    """A request whose body may be so large and no larger."""

    def __init__(self, request: Request, most_bytes: int) -> None:
        super().__init__(request.scope, request.receive)
        self._most_bytes = most_bytes

    async def stream(self) -> AsyncGenerator[bytes, None]:
        declared, size = self.headers.get("content-length", ""), 0
        if declared.isdecimal() and int(declared) > self._most_bytes:
            raise self._too_large()
        async for part in super().stream():
            size += len(part)
            if size > self._most_bytes:
                raise self._too_large()
            yield part

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"A request body must have at most {self._most_bytes} bytes.")


def _caller(request: Request, state: TeacherState, name: str) -> Caller:
    """Who calls.

    Raises:
        ApiError: 401 for an unknown key.
    """
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    account = state.accounts.find(key.strip() if scheme.lower() == "bearer" else None)
    if account is None:
        raise ApiError(
            401,
            "Incorrect API key provided. Send a known key as 'Authorization: Bearer KEY'.",
            code="invalid_api_key",
        )
    return Caller(
        state=state,
        account=account,
        request_id=name,
        endpoint=request.url.path.removeprefix("/v1/").replace("/", "."),
        client_ip=_address(request, trusts_forwarded=state.trusts_forwarded),
        user_agent=request.headers.get("user-agent"),
        time=datetime.now(UTC),
        began=time.perf_counter(),
    )


def _address(request: Request, *, trusts_forwarded: bool) -> str | None:
    forwarded = request.headers.get("x-forwarded-for", "").split(",")[0].strip()
    if trusts_forwarded and forwarded:
        return forwarded
    return request.client.host if request.client else None


def _allowance(caller: Caller) -> Allowance | None:
    """Count the request, where the account has a limit."""
    per_minute = caller.account.requests_per_minute or caller.state.requests_per_minute
    return None if per_minute is None else caller.state.rate.take(caller.account.account_id, per_minute)


def _too_many(allowance: Allowance) -> ApiError:
    return ApiError(
        429,
        f"Rate limit reached: {allowance.limit:g} requests a minute. Try again in {allowance.wait_s:.1f} s.",
        kind="requests",
        code="rate_limit_exceeded",
    )
