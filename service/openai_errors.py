"""Errors in the shape of the OpenAI API: `{"error": {"message", "type", "param", "code"}}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

INVALID = "invalid_request_error"
_PLAIN = {
    404: "Invalid URL ({method} {path})",
    405: "Not allowed to {method} on {path}",
}


class ApiError(Exception):
    """An error that a client is told.

    Attributes:
        status: HTTP status.
        message: What must hold, and what was given.
        kind: The `type` of the body.
        param: The parameter that is wrong.
        code: A name that programs can test for.
        headers: Further headers.
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

    def body(self) -> dict[str, Any]:
        """The body of the response."""
        told = {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}
        return {"error": told}

    def response(self) -> JSONResponse:
        """The whole response."""
        return JSONResponse(self.body(), self.status, self.headers)


def install(app: FastAPI) -> None:
    """Make an app tell every error in this shape."""
    for kind in (ApiError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, _told)


def api_error(error: Exception, request: Request) -> ApiError:
    """What a client is told of an exception that a route or the framework raised."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, RequestValidationError):
        return from_validation(error.errors())
    if isinstance(error, HTTPException):
        plain = _PLAIN.get(error.status_code, "{detail}")
        message = plain.format(method=request.method, path=request.url.path, detail=error.detail)
        return ApiError(error.status_code, message, headers=error.headers)
    # only the kind of error: a message could hold a prompt
    return ApiError(500, f"The server had an error: {type(error).__name__}", kind="server_error")


def from_validation(complaints: Sequence[Mapping[str, Any]]) -> ApiError:
    """Complaints of a validation as an error about the first parameter that is wrong."""
    param = _param(complaints[0]["loc"])
    same = [complaint for complaint in complaints if _param(complaint["loc"]) == param]
    # of the kinds that a value may have, the one that fits best is complained of deepest inside
    worst = max(same, key=lambda complaint: len(complaint["loc"]))
    kind, message = worst["type"], worst["msg"]
    if kind == "json_invalid":
        return ApiError(400, f"We could not parse the JSON body of your request: {message}.")
    if param is None:
        return ApiError(400, f"The body of your request must be a JSON object: {message}.")
    if kind == "extra_forbidden":
        return ApiError(
            400, f"Unrecognized request argument supplied: {param}", param=param, code="unknown_parameter"
        )
    if kind == "missing":
        return ApiError(
            400, f"Missing required parameter: '{param}'.", param=param, code="missing_required_parameter"
        )
    if kind.endswith("_type"):
        return ApiError(400, f"Invalid type for '{param}': {message}.", param=param, code="invalid_type")
    return ApiError(400, f"Invalid '{param}': {message}.", param=param, code="invalid_value")


def _param(place: Sequence[str | int]) -> str | None:
    """A place as the API writes it: `stop`, `messages[0].role`; the first part says body, query or path."""
    match place[1:]:
        case [str(name), int(at), str(field), *_]:
            return f"{name}[{at}].{field}"
        case [str(name), int(at), *_]:
            return f"{name}[{at}]"
        case [str(name), *_]:
            return name
    return None


async def _told(request: Request, error: Exception) -> JSONResponse:
    return api_error(error, request).response()
