"""Bodies of responses that end in time and within a size, however slowly or long a server writes.

The time limit of an HTTP client is for each read: a server that writes a byte a second would never run into it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2  # the client of the `openai` SDK

from kdguard.errors import TeacherError

MOST_BYTES = 64 << 20
"""Largest body; a larger one raises a `TeacherError`."""
_BEGAN = "kdguard_began"


def hooks(
    timeout_s: float, *, clock: Callable[[], float] = time.monotonic
) -> dict[str, list[Callable[..., Any]]]:
    """Event hooks of a client that hold every try to its limits.

    Args:
        timeout_s: Seconds from sending to the last part of the body. A part that is waited for is not broken off, so
            that together with the client's own limit a try may take up to twice as long.
        clock: Seconds, never going back.
    """

    def began(request: httpx2.Request) -> None:
        request.extensions[_BEGAN] = clock()

    def answered(response: httpx2.Response) -> None:
        if isinstance(response.stream, httpx2.SyncByteStream):
            deadline = response.request.extensions[_BEGAN] + timeout_s
            response.stream = _Bounded(response.stream, lambda: clock() > deadline)

    return {"request": [began], "response": [answered]}


class _Bounded(httpx2.SyncByteStream):
    def __init__(self, inner: httpx2.SyncByteStream, is_late: Callable[[], bool]) -> None:
        self._inner, self._is_late = inner, is_late

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for part in self._inner:
            size += len(part)
            if self._is_late():
                raise httpx2.ReadTimeout("the response did not end in time")
            if size > MOST_BYTES:
                raise TeacherError(f"a response must have at most {MOST_BYTES} bytes")
            yield part

    def close(self) -> None:
        self._inner.close()
