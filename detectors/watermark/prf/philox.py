"""Philox4x32-10 over a window and a token, word for word as vLLM's watermarks use it (`philox4x32-10-v1`).

Not a cryptographic function: whoever sees enough marked text may learn to forge it. It is here because deployed
models write it; for marks of your own take `siphash`.

References:
    Salmon, Moraes, Dror and Shaw (2011), SC '11, doi 10.1145/2063384.2063405, for the rounds; vLLM's published
    compatibility vectors for the way in which key, window and token enter them.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint32]

NAME: Final = "philox4x32-10-v1"
_LOW: Final = np.uint64(0xFFFFFFFF)
_HALF: Final = np.uint64(32)
_MULTIPLIERS: Final = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL: Final = (np.uint32(0x9E3779B9), np.uint32(0xBB67AE85))
_ROUNDS: Final = 10
_WINDOW_DOMAIN: Final = 0x574D4358
_TOKEN_DOMAIN: Final = 0x574D544B
_BLOCK: Final = 4
_UPPER: Final = 1 if sys.byteorder == "little" else 0


def philox_words(key: Any, windows: Ints, tokens: Ints) -> Words:
    """One 32-bit word for every window and token.

    Args:
        key: 64-bit keys, uint64, one or an array that broadcasts with `tokens`.
        windows: Token ids before each token, oldest first, shape (..., w); -1 stands before the text's first.
        tokens: Token ids, shape (...).

    Returns:
        Words, uint32, of the broadcast shape.
    """
    keys = np.atleast_1d(np.asarray(key, np.uint64))
    low, high = (keys & _LOW).astype(np.uint32), (keys >> _HALF).astype(np.uint32)
    width = windows.shape[-1]
    ids = windows.astype(np.uint32)
    state: tuple[Any, ...] = tuple(np.uint32(word) for word in (_WINDOW_DOMAIN, width, 0, 0))
    for first in range(0, width, _BLOCK):
        block = [
            ids[..., first + place] if first + place < width else ~np.uint32(place) for place in range(_BLOCK)
        ]
        mixed = [word ^ fresh for word, fresh in zip(state, block, strict=True)]
        state = _rounds(mixed, low ^ np.uint32(first), high)
    token = tokens.astype(np.uint32)
    words = _rounds(
        [token >> np.uint32(2), state[0], state[1], state[2]],
        low ^ state[3],
        high ^ np.uint32(_TOKEN_DOMAIN),
    )
    return _picked(words, token & np.uint32(3))


def uniform_float32(words: Words) -> npt.NDArray[np.float32]:
    """(m + 1) / (2^24 + 1) with m the word's upper 24 bits, rounded to float32 as vLLM rounds it; in (0, 1)."""
    upper = (words >> np.uint32(8)).astype(np.float64)
    return ((upper + 1.0) / (2.0**24 + 1.0)).astype(np.float32)


def _rounds(counter: Any, key_0: Words, key_1: Words) -> tuple[Any, ...]:
    """Ten rounds; the halves of a 64-bit product are read where they lie."""
    one, two, three, four = counter
    for place in range(_ROUNDS):
        if place:
            key_0, key_1 = key_0 + _WEYL[0], key_1 + _WEYL[1]
        first_high, first_low = _product(one, _MULTIPLIERS[0])
        second_high, second_low = _product(three, _MULTIPLIERS[1])
        one, two = second_high ^ two ^ key_0, second_low
        three, four = first_high ^ four ^ key_1, first_low
    return one, two, three, four


def _product(words: Words, multiplier: np.uint64) -> tuple[Words, Words]:
    """Upper and lower half of a 32 by 32 bit product."""
    product = np.atleast_1d(np.multiply(words, multiplier, dtype=np.uint64))
    halves = product.view(np.uint32).reshape(*product.shape, 2)
    return halves[..., _UPPER], halves[..., 1 - _UPPER]


def _picked(words: tuple[Any, ...], place: Words) -> Words:
    """Of four words the one at `place`."""
    low = np.where(place == 0, words[0], words[1])
    high = np.where(place == 2, words[2], words[3])
    return np.where(place < 2, low, high)
