"""Templates, their filters, and pages that tell of an error."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from jinja2 import Environment
from sqlalchemy.exc import InterfaceError, OperationalError, TimeoutError
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse, RedirectResponse, Response

from kdguard.errors import InputError
from kdguard.report.environment import environment
from kdguard.report.words import DECISION_WORDS, count, stratum_words, visible
from kdguard.service.api.problems import Problem, problem_of
from kdguard.service.api.state import service_of
from kdguard.service.pages.sessions import Visitor, keep_alive, token_of
from kdguard.verdict import Decision

_LONGEST_LINE = 20_000
MARK_WORDS = {
    "watermark": "Watermark",
    "radioactivity": "Radioactivity of",
    "canary": "Canaries",
    "twins": "Twins",
}
DISPOSITION_WORDS = {"confirmed": "Confirmed extraction", "benign": "Benign", "watch": "Watch"}


def address(path: str, **fields: Any) -> str:
    """Path and query of a link; fields that are None or empty are left out, the others are percent-encoded."""
    told = urlencode({name: value for name, value in fields.items() if value not in (None, "")})
    return f"/pages/{path}?{told}" if told else f"/pages/{path}"


def page(
    request: Request, name: str, status: int = 200, *, visitor: Visitor | None = None, **values: Any
) -> HTMLResponse:
    """Render one page; with a visitor, its forms carry the token of their session."""
    token = "" if visitor is None else token_of(service_of(request).secrets, visitor.session)
    text = _environment().get_template(name).render(visitor=visitor, **{"token": token, **values})
    return HTMLResponse(text.encode("utf-8", "replace"), status)


class PageRoute(APIRoute):
    """A route whose errors are pages too, and which asks strangers to sign in."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the handler."""
        serve = super().get_route_handler()

        async def served(request: Request) -> Response:
            try:
                response = await serve(request)
            except _TOLD as error:
                return _problem_page(request, problem_of(error))
            keep_alive(request, response)
            return response

        return served


_TOLD = (
    Problem,
    RequestValidationError,
    HTTPException,
    InputError,
    OperationalError,
    InterfaceError,
    TimeoutError,
)


def _problem_page(request: Request, problem: Problem) -> Response:
    if problem.status == 401 and request.method == "GET":
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"/pages/sign-in?next={quote(request.url.path + query, safe='')}", 303)
    visitor = getattr(request.state, "visitor", None)
    told = page(request, "problem.html.j2", problem.status, visitor=visitor, problem=problem, current="")
    told.headers.update(problem.headers)
    return told


def moment(at_us: int | None) -> str:
    """A time to the minute, in UTC."""
    if at_us is None:
        return "never"
    return f"{datetime.fromtimestamp(at_us / 1e6, UTC):%Y-%m-%d %H:%M} UTC"


def passage(text: str) -> str:
    """A text of several lines, each safe to show: a line must not turn the direction of what follows."""
    return "\n".join(visible(line, _LONGEST_LINE) for line in text.expandtabs(4).splitlines())


def iso(at_us: int) -> str:
    """A time for programs."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).isoformat(timespec="seconds")


@lru_cache(maxsize=1)
def _environment() -> Environment:
    made = environment("kdguard.service.pages")
    made.filters.update(
        moment=moment,
        iso=iso,
        passage=passage,
        stratum=stratum_words,
    )
    made.globals.update(
        address=address,
        count=count,
        decision_words={decision.value: words for decision, words in DECISION_WORDS.items()},
        disposition_words=DISPOSITION_WORDS,
        mark_words=MARK_WORDS,
        decisions=[decision.value for decision in Decision],
    )
    return made
