"""Stop texts found in bytes, whatever tokens they are cut into and however many tokens come at a time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Released(NamedTuple):
    """What is certain after some more tokens.

    Attributes:
        tokens: Tokens to release, held ones first. On a stop: those with a byte before it.
        text: Their bytes; on a stop, cut where it begins.
        stopped: A stop text was found.
    """

    tokens: int
    text: bytes
    stopped: bool


class StopWatch:
    """Watches one sequence for stop texts; holds back tokens that may turn out to begin one.

    The stop that ends first counts, and of two that end together the longer, so that the outcome depends on the
    bytes alone.
    """

    def __init__(self, stops: Sequence[bytes]) -> None:
        self._stops = tuple(stops)
        self._held: list[bytes] = []

    def feed(self, tokens: Sequence[bytes], *, last: bool) -> Released:
        """Take the bytes of the tokens that follow.

        Args:
            tokens: Bytes of each.
            last: Nothing follows; release everything that is not part of a stop.
        """
        self._held += tokens
        text = b"".join(self._held)
        start = self._first(text)
        if start is not None:
            count = self._count(start, whole=False)
            self._held = []
            return Released(count, text[:start], True)
        free = len(text) if last else len(text) - self._begun(text)
        count = len(self._held) if last else self._count(free, whole=True)
        out = b"".join(self._held[:count])
        self._held = self._held[count:]
        return Released(count, out, False)

    def _first(self, text: bytes) -> int | None:
        """Where the stop that ends first begins."""
        found = [(at + len(stop), at) for stop in self._stops if (at := text.find(stop)) >= 0]
        return min(found)[1] if found else None

    def _begun(self, text: bytes) -> int:
        """Length of the longest end of the text with which a stop begins."""
        longest = max(map(len, self._stops)) - 1
        for length in range(min(longest, len(text)), 0, -1):
            if any(stop.startswith(text[len(text) - length :]) for stop in self._stops):
                return length
        return 0

    def _count(self, end: int, *, whole: bool) -> int:
        """Held tokens that end by `end`, or that begin before it."""
        at = count = 0
        for token in self._held:
            at_end = at + len(token)
            if (at_end > end) if whole else (at >= end):
                break
            at, count = at_end, count + 1
        return count
