"""Random choices drawn in blocks, so that example i depends on the seed and on i only, and making many is cheap."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
BLOCK = 1024
THROWS = 24


class Dice:
    """The throws of one example.

    Args:
        throws: Numbers in [0, 2**32), at most `THROWS` are used.
    """

    __slots__ = ("_at", "_throws")

    def __init__(self, throws: Sequence[int]) -> None:
        self._throws, self._at = throws, 0

    def below(self, limit: int) -> int:
        """A number in [0, limit)."""
        value = self._throws[self._at]
        self._at += 1
        return value * limit >> 32

    def between(self, low: int, high: int) -> int:
        """A number in [low, high]."""
        return low + self.below(high - low + 1)

    def pick(self, options: Sequence[T]) -> T:
        """One of the options."""
        return options[self.below(len(options))]

    def two(self, options: Sequence[T]) -> tuple[T, T]:
        """Two different options."""
        first = self.below(len(options))
        second = (first + 1 + self.below(len(options) - 1)) % len(options)
        return options[first], options[second]

    def weighed(self, shares: Sequence[float]) -> int:
        """An index, by shares that sum to 1."""
        value = self._throws[self._at] / 2**32
        self._at += 1
        for index, share in enumerate(shares):
            value -= share
            if value < 0:
                return index
        return len(shares) - 1


def dice(seed: int, *names: str) -> Iterator[Dice]:
    """An endless sequence of dice that depends on the seed and the names only."""
    digest = hashlib.blake2b("\x1f".join(names).encode(), digest_size=16).digest()
    words = np.frombuffer(digest, dtype=np.uint32).tolist()
    block = 0
    while True:
        source = np.random.SeedSequence([seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF, *words, block])
        drawn = np.random.PCG64(source).random_raw(BLOCK * THROWS) >> np.uint64(32)
        for throws in drawn.reshape(BLOCK, THROWS).tolist():
            yield Dice(throws)
        block += 1


def chosen(options: Sequence[T], *names: str) -> T:
    """One of the options, decided by names alone: the same names, the same option."""
    digest = hashlib.blake2b("\x1f".join(names).encode(), digest_size=8).digest()
    return options[int.from_bytes(digest, "little") % len(options)]
