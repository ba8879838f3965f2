"""Errors in the shape of the OpenAI API: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

INVALID = "invalid_request_error"


class ApiError(Exception):
    """An error that a client is told.

    Attributes:
        status: HTTP status.
        message: What must hold, and what was given.
        kind: The `type` of the body.
        param: The parameter that is wrong.
        code: A name that programs can test for.
        headers: Further headers.
        is_logged: The exchange log has it already.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind = status, message, kind
        self.param, self.code, self.headers = param, code, dict(headers or {})
        self.is_logged = False

    def body(self) -> dict[str, dict[str, str | None]]:
        """The body of the response."""
        return error_body(self.message, kind=self.kind, param=self.param, code=self.code)


def error_body(
    message: str, *, kind: str = INVALID, param: str | None = None, code: str | None = None
) -> dict[str, dict[str, str | None]]:
    """A body that tells an error."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def install(app: FastAPI) -> None:
    """Make an app tell every error in this shape."""
    app.add_exception_handler(ApiError, _told)
    app.add_exception_handler(RequestValidationError, _told)
    app.add_exception_handler(HTTPException, _plain)
    app.add_exception_handler(Exception, _unexpected)


async def _told(request: Request, error: Exception) -> JSONResponse:
    """Tell an error; `request.state.refused` is called with the status, where a route set it."""
    if isinstance(error, RequestValidationError):
        error = from_validation(error.errors()[0])
    if not isinstance(error, ApiError):
        raise error
    refused = getattr(request.state, "refused", None)
    if refused is not None and not error.is_logged:
        refused(error.status)
    return JSONResponse(error.body(), error.status, error.headers)


def from_validation(first: Mapping[str, object]) -> ApiError:
    """The first complaint of a validation as an error."""
    place = first.get("loc")
    names = [str(part) for part in place if part != "body"] if isinstance(place, tuple | list) else []
    kind, message = str(first.get("type", "")), str(first.get("msg", "the request is not valid"))
    if kind == "json_invalid":
        return ApiError(400, f"We could not parse the JSON body of your request: {message}.")
    param = names[0] if names else None
    if kind == "extra_forbidden":
        return ApiError(
            400, f"Unrecognized request argument supplied: {param}", param=param, code="unknown_parameter"
        )
    if kind == "missing":
        return ApiError(
            400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
        )
    return ApiError(400, f"Invalid '{param}': {message}.", param=param, code="invalid_value")


async def _plain(request: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    messages = {
        404: f"Invalid URL ({request.method} {request.url.path})",
        405: f"Not allowed to {request.method} on {request.url.path}",
    }
    detail = error.detail if isinstance(error, HTTPException) else "error"
    return JSONResponse(error_body(messages.get(status, str(detail))), status)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    """Only the kind of error: a message could hold a prompt."""
    return JSONResponse(
        error_body(f"The server had an error: {type(error).__name__}", kind="server_error"), 500
    )
