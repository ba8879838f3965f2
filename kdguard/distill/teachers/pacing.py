"""Staying under a provider's limits: requests and tokens a minute, shared by all threads."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from kdguard.errors import TeacherError


class Pace:
    """Spaces requests so that neither limit is passed.

    Each limit is a bucket that refills evenly and holds one second's worth, at least one request: a burst after a
    pause stays small. A request that alone holds more tokens than a bucket waits until its share has gone by.

    Args:
        requests_per_minute: None = no limit.
        tokens_per_minute: Prompt and answer together; None = no limit.
        clock: Seconds, never going back.
        sleep: Waits for seconds.

    Raises:
        TeacherError: A limit is not above 0.
    """

    def __init__(
        self,
        *,
        requests_per_minute: float | None = None,
        tokens_per_minute: float | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        limits = requests_per_minute, tokens_per_minute
        if any(limit is not None and not limit > 0 for limit in limits):
            raise TeacherError(
                f"limits a minute must be above 0, got {limits[0]} requests, {limits[1]} tokens"
            )
        self._seconds_each = tuple(0.0 if limit is None else 60.0 / limit for limit in limits)
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._free_at = [clock()] * 2

    def wait(self, tokens: int) -> float:
        """Wait until a request with so many tokens may be sent; returns the seconds waited."""
        with self._lock:
            now = self._clock()
            start = max(now, *(free - 1.0 for free in self._free_at))
            for at, amount in enumerate((1, tokens)):
                self._free_at[at] = max(self._free_at[at], start) + amount * self._seconds_each[at]
        if start > now:
            self._sleep(start - now)
        return start - now
