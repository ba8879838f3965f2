"""Connections that waste time: heads of requests, and rests of refused bodies, must arrive in time and within a size.

uvicorn bounds the time between requests only. The time of a body that is being read is bounded by `guard`.
"""

from __future__ import annotations

import asyncio
import logging

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LOG = logging.getLogger("kdguard.service.requests")
HEAD_S = 10.0
"""Seconds for the head of a request, and for what is left of a body after its answer."""
MOST_HEAD_BYTES = 64 << 10


class TimedConnection(HttpToolsProtocol):
    """A connection that ends where its client keeps it waiting."""

    _timer: asyncio.TimerHandle | None = None
    _in_head: bool = False
    _head_bytes: int = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self._head_begins()

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        began_before = self._in_head
        super().data_received(data)
        if began_before and self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD_BYTES:
                self._end("head too large")

    def on_message_begin(self) -> None:
        """A request begins."""
        super().on_message_begin()
        self._head_begins()

    def on_headers_complete(self) -> None:
        """Its head is whole."""
        self._in_head, self._head_bytes = False, 0
        self._arrived()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body is whole."""
        self._arrived()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It was answered, perhaps before its body was whole; the rest is thrown away."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body:
            self._await("rest of a body too slow")

    def _head_begins(self) -> None:
        self._in_head = True
        self._await("head too slow")

    def _await(self, otherwise: str) -> None:
        if self._timer is None:
            self._timer = self.loop.call_later(HEAD_S, self._end, otherwise)

    def _arrived(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, why: str) -> None:
        self._arrived()
        LOG.info("connection ended", extra={"kd": {"why": why}})
        self.transport.close()
