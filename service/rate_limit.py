"""Requests a minute for each account, as a bucket that refills evenly and holds one minute's worth."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import NamedTuple

_MINUTE_S = 60.0


class Allowance(NamedTuple):
    """What an account may do now.

    Attributes:
        allowed: This request may go on.
        limit: Requests a minute.
        remaining: Requests that could follow at once.
        wait_s: Seconds until the next is allowed; 0 if this one is.
    """

    allowed: bool
    limit: float
    remaining: int
    wait_s: float

    def headers(self) -> dict[str, str]:
        """As the headers of the API."""
        told = {
            "x-ratelimit-limit-requests": f"{self.limit:g}",
            "x-ratelimit-remaining-requests": str(self.remaining),
        }
        return told if self.allowed else told | {"retry-after": str(max(1, math.ceil(self.wait_s)))}


class RateLimit:
    """Buckets by account.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}  # requests left, when that was counted
        self._next_sweep = clock() + _MINUTE_S

    def take(self, account_id: str, per_minute: float) -> Allowance:
        """Count one request of an account, if it is allowed."""
        now = self._clock()
        most = max(per_minute, 1.0)
        left, counted = self._buckets.get(account_id, (most, now))
        left = min(most, left + (now - counted) * per_minute / _MINUTE_S)
        allowed = left >= 1.0
        left -= allowed
        self._buckets[account_id] = left, now
        if now >= self._next_sweep:
            self._sweep(now)
        return Allowance(
            allowed, per_minute, int(left), 0.0 if allowed else (1.0 - left) * _MINUTE_S / per_minute
        )

    def _sweep(self, now: float) -> None:
        """Forget buckets that are full again, which changes nothing: those of names that were quiet for a minute."""
        recent = ((name, kept) for name, kept in self._buckets.items() if now - kept[1] < _MINUTE_S)
        self._buckets = dict(recent)
        self._next_sweep = now + _MINUTE_S
