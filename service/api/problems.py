"""Errors as RFC 9457 problem details: a stable `type`, what must hold, and nothing that a caller sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, TimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from kdguard.errors import InputError
from kdguard.service.ingest.bodies import TooLarge
from kdguard.service.ingest.journal import JournalFull

LOG = logging.getLogger("kdguard.service")
_TYPE = "urn:kdguard:problem:"
RETRY_S = 5


class Problem(Exception):  # noqa: N818  (the name of RFC 9457)
    """An error that a caller is told.

    Attributes:
        status: HTTP status.
        name: Last part of `type`; stable, for programs.
        detail: For people: what must hold and what to do; no text or id that the caller sent.
        headers: Further headers.
        more: Further members of the body.
    """

    def __init__(
        self,
        status: int,
        name: str,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.name, self.detail = status, name, detail
        self.headers, self.more = dict(headers or {}), dict(more or {})

    def response(self, request_id: str) -> JSONResponse:
        """The whole response."""
        body = {
            "type": _TYPE + self.name,
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "instance": f"urn:kdguard:request:{request_id}",
            **self.more,
        }
        return JSONResponse(body, self.status, self.headers, media_type="application/problem+json")


class ProblemBody(BaseModel):
    """Problem details (RFC 9457)."""

    type: str = Field(examples=[f"{_TYPE}not-found"])
    title: str
    status: int
    detail: str
    instance: str


RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/ProblemBody"}}},
    }
    for status in (400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503)
}


def install(app: FastAPI) -> None:
    """Make an app tell errors in this shape; those that nobody foresaw are told by `guard`."""
    for kind in (
        Problem,
        RequestValidationError,
        HTTPException,
        InputError,
        DBAPIError,
        TimeoutError,
    ):
        app.add_exception_handler(kind, _handle)


def retry(status: int, name: str, detail: str, after_s: float = RETRY_S) -> Problem:
    """A problem that passes."""
    return Problem(status, name, detail, headers={"retry-after": str(max(1, round(after_s)))})


def problem_of(error: Exception) -> Problem:
    """What a caller is told of an exception."""
    match error:
        case Problem():
            return error
        case RequestValidationError():
            return _from_validation(error.errors())
        case HTTPException():
            status = error.status_code
            name = HTTPStatus(status).phrase.lower().replace(" ", "-")
            return Problem(
                status, name, f"{HTTPStatus(status).description or error.detail}", headers=error.headers
            )
        case TooLarge():
            return Problem(413, "too-large", str(error))
        case JournalFull():
            backlog = "come back later" in str(error)
            return retry(429 if backlog else 503, "backlog" if backlog else "disk", str(error))
        case InputError():
            return Problem(422, "unusable", str(error))
        case OperationalError() | InterfaceError() | TimeoutError():
            return retry(503, "database", "the database cannot be reached or is too slow now")
        case _:
            # only the kind of error: a message could hold a prompt
            return Problem(
                500, "internal", f"an error of ours: {type(error).__name__}; report it with its request id"
            )


def _from_validation(complaints: Sequence[Mapping[str, Any]]) -> Problem:
    told = [
        {"at": "/".join(str(part)[:64] for part in complaint["loc"]), "must": complaint["msg"][:200]}
        for complaint in complaints[:20]
    ]
    return Problem(422, "invalid", "some values are not as they must be; see errors", more={"errors": told})


def told(request_id: str, error: Exception) -> JSONResponse:
    """The response to an error; one of ours is logged, by its kind and place."""
    problem = problem_of(error)
    if problem.status >= 500:
        told_of = {"request_id": request_id, "problem": problem.name, "error": type(error).__name__}
        LOG.error("request failed", extra={"kd": told_of | {"place": _place(error)}})
    return problem.response(request_id)


async def _handle(request: Request, error: Exception) -> JSONResponse:
    return told(getattr(request.state, "request_id", "unknown"), error)


def _place(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "unknown"
