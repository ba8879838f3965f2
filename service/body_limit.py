"""Refuses request bodies above a size, before anything holds them in memory."""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kdguard.service.openai_errors import error_body


class _TooLargeError(Exception):
    pass


class BodyLimit:
    """ASGI middleware.

    Args:
        app: What follows.
        most_bytes: Largest body.
    """

    def __init__(self, app: ASGIApp, most_bytes: int) -> None:
        self._app, self._most = app, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the bytes of a body as they arrive, whatever its headers say."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._most:
                raise _TooLargeError
            return message

        try:
            await self._app(scope, counted, send)
        except _TooLargeError:
            message = f"A request body must have at most {self._most} bytes."
            await JSONResponse(error_body(message), 413)(scope, receive, send)
