"""Around every request: an id, limits on size and time of its body, headers for browsers, and one line of log.

Written against ASGI itself, since it sits on the path of every inline decision.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kdguard.service.api import problems
from kdguard.service.api.problems import Problem
from kdguard.service.api.settings import Settings
from kdguard.service.out.metrics import REQUEST_SECONDS, REQUESTS

LOG = logging.getLogger("kdguard.service.requests")
_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_BULK = ("/v1/exchanges", "/v1/traces", "/v1/accounts", "/v1/baselines", "/v1/lineage", "/v1/marks")
_HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (
        b"content-security-policy",
        b"default-src 'self'; base-uri 'none'; object-src 'none'; frame-ancestors 'none'; form-action 'self'",
    ),
]
_NO_STORE = (b"cache-control", b"no-store")


class Guard:
    """The outermost layer of the app.

    Args:
        app: What is guarded.
        settings: Limits.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app, self._settings = app, settings

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500
        headers = dict(scope["headers"])
        given = headers.get(b"x-request-id", b"")
        request_id = given.decode() if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def sending(message: Message) -> None:
            nonlocal status, started
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                told = [name for name, _ in message["headers"]]
                extra = [pair for pair in (*_HEADERS, _NO_STORE) if pair[0] not in told]
                message["headers"] = [*message["headers"], *extra, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            limit = self._limit(scope)
            declared = headers.get(b"content-length", b"")
            if declared.isdigit() and int(declared[:20]) > limit:
                raise _too_large(limit)
            await self._app(scope, self._bounded(receive, limit), sending)
        except Exception as error:
            if started:
                raise
            # here and not further out, where the server would log the text of the error
            response = problems.told(request_id, error)
            await response(scope, receive, sending)
        finally:
            took_s = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", "none")
            REQUESTS.labels(route, scope["method"] if route != "none" else "any", str(status)).inc()
            REQUEST_SECONDS.labels(route).observe(took_s)
            if LOG.isEnabledFor(logging.INFO):
                told = {"request_id": request_id, "method": scope["method"], "route": route, "status": status}
                LOG.info("request", extra={"kd": told | {"took_ms": round(took_s * 1e3, 2)}})

    def _limit(self, scope: Scope) -> int:
        bulk = scope["method"] in ("POST", "PUT") and scope["path"].startswith(_BULK)
        return self._settings.most_body_bytes if bulk else self._settings.most_request_bytes

    def _bounded(self, receive: Receive, limit: int) -> Receive:
        """The body as it comes, within its size and its time."""
        size, ends, whole = 0, time.monotonic() + self._settings.body_s, False

        async def receiving() -> Message:
            nonlocal size, whole
            if whole:
                return await receive()
            try:
                async with asyncio.timeout(max(0.0, ends - time.monotonic())):
                    message = await receive()
            except TimeoutError as error:
                raise Problem(
                    408, "slow", f"a body must arrive within {self._settings.body_s:g} s"
                ) from error
            if message["type"] == "http.request":
                size += len(message.get("body", b""))
                whole = not message.get("more_body", False)
                if size > limit:
                    raise _too_large(limit)
            return message

        return receiving


def _too_large(limit: int) -> Problem:
    return Problem(413, "too-large", f"a body of this route must have at most {limit} bytes")
