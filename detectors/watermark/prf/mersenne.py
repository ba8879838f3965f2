"""What PyTorch's CPU generator draws, without PyTorch: permutations and coin flips of the Mersenne Twister.

transformers' watermarks seed `torch.Generator` and call `torch.randperm` and `torch.randint`. Both read 32-bit words of
MT19937, of whose seed only the lower 32 bits count; numpy draws the same words.

References:
    Matsumoto and Nishimura (1998), ACM TOMACS 8(1), for the generator; the tests compare with torch itself.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]
Bools = npt.NDArray[np.bool_]

_SEED_MASK = 0xFFFFFFFF
_FEW = 3  # members up to which searching the swaps costs less than a table of all places


def words(seed: int, count: int) -> Words:
    """The first 32-bit words after `torch.manual_seed(seed)`, shape (count,)."""
    return np.random.RandomState(seed & _SEED_MASK).randint(0, 1 << 32, count, dtype=np.uint32)


def coins(seed: int, count: int) -> npt.NDArray[np.uint8]:
    """`torch.randint(0, 2, (count,))`."""
    return (words(seed, count) & 1).astype(np.uint8)


@lru_cache(maxsize=128)
def permutation(seed: int, size: int) -> Ints:
    """`torch.randperm(size)`; half a second for a million."""
    places = np.arange(size - 1)
    order = list(range(size))
    for place, other in zip(
        places.tolist(), (places + words(seed, size - 1) % (size - places)).tolist(), strict=True
    ):
        order[place], order[other] = order[other], order[place]
    return np.array(order, np.int64)


class Beginnings:
    """Which numbers are among the first `count` of `torch.randperm(size)`, for one seed after another.

    A shuffle swaps place i with a later place for i = 0, 1, …, so its beginning is final after `count` swaps, and a
    number's way through them is followed without shuffling anything. What is left to pay for a seed is drawing its
    swaps.

    Args:
        size: Numbers that are shuffled, below 2^32 / 20; from there on torch draws otherwise.
        count: Length of the beginning.
    """

    def __init__(self, size: int, count: int) -> None:
        self.count = count
        self._places = np.arange(min(count, size - 1), dtype=np.uint32)
        self._left = np.uint32(size) - self._places
        self._steps = self._places.astype(np.int32)
        self._latest = np.empty(size, np.int32)
        self._reached = np.empty(len(self._places), np.intp)
        self._source = np.random.RandomState(0)

    def holds(self, seed: int, members: Ints) -> Bools:
        """Which members the beginning holds, shape of `members`."""
        self._source.seed(seed & _SEED_MASK)
        swaps = self._source.randint(0, 1 << 32, len(self._places), dtype=np.uint32)
        np.remainder(swaps, self._left, out=swaps)
        swaps += self._places
        latest = self._search(swaps) if len(members) <= _FEW else self._table(swaps)
        then = swaps.data
        return np.array([self._arrives(latest, then, member) for member in members.tolist()], np.bool_)

    def _table(self, swaps: Words) -> Callable[[int], int]:
        """The last swap that reaches for a place, or -1, for all places at once: many members share its cost."""
        self._latest.fill(-1)
        np.copyto(self._reached, swaps)
        # of several swaps that reach for one place, numpy keeps what is written last
        self._latest[self._reached] = self._steps
        return self._latest.data.__getitem__

    def _search(self, swaps: Words) -> Callable[[int], int]:
        """The same for one place at a time."""
        return lambda place: (swaps == place).tobytes().rfind(1)

    def _arrives(self, latest: Callable[[int], int], swaps: memoryview, place: int) -> bool:
        """Whether what begins at `place` ends before `count`."""
        step = 0
        while True:
            # a swap that still comes and reaches for this place puts what lies there at the swap's own, final place
            if latest(place) >= step:
                return True
            if place >= len(swaps):
                return place < self.count
            step, place = place + 1, swaps[place]
