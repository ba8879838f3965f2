"""SipHash-2-4 over a window and a token: the keyed function of marks that kdguard itself writes.

References:
    Aumasson and Bernstein (2012), "SipHash: a fast short-input PRF", INDOCRYPT, with its test vectors.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Words = npt.NDArray[np.uint64]

NAME: Final = "siphash-2-4"
_START: Final = (0x736F6D6570736575, 0x646F72616E646F6D, 0x6C7967656E657261, 0x7465646279746573)
_LOW: Final = np.uint64(0xFFFFFFFF)
_ID_BYTES: Final = 4


def siphash_words(key_0: Any, key_1: Any, windows: Ints, tokens: Ints) -> Words:
    """One 64-bit word for every window and token.

    The message is the window's ids and then the token's, 32 bits each, little-endian, as bytes.

    Args:
        key_0: First halves of the 128-bit keys, uint64, one or an array that broadcasts with `tokens`.
        key_1: Second halves.
        windows: Token ids before each token, oldest first, shape (..., w); -1 stands before the text's first.
        tokens: Token ids, shape (...).
    """
    width = windows.shape[-1]
    ids = [windows[..., place].astype(np.uint64) & _LOW for place in range(width)]
    ids.append(tokens.astype(np.uint64) & _LOW)
    blocks = [first | second << np.uint64(32) for first, second in zip(ids[::2], ids[1::2], strict=False)]
    length = np.uint64((_ID_BYTES * len(ids) & 0xFF) << 56)
    last = ids[-1] | length if len(ids) % 2 else length
    return siphash(key_0, key_1, [*blocks, last])


def siphash(key_0: Any, key_1: Any, blocks: list[Any]) -> Words:
    """SipHash-2-4 of messages cut into 64-bit words, the last with the message's length in its top byte."""
    halves = (key_0, key_1, key_0, key_1)
    shape = np.broadcast_shapes(*(np.shape(part) for part in (key_0, key_1, *blocks)), (1,))
    state = [np.empty(shape, np.uint64) for _ in halves]
    for word, half, start in zip(state, halves, _START, strict=True):
        np.bitwise_xor(np.uint64(start), np.asarray(half, np.uint64), out=word)
    spare = np.empty(shape, np.uint64)
    for block in blocks:
        state[3] ^= block
        _round(state, spare)
        _round(state, spare)
        state[0] ^= block
    state[2] ^= np.uint64(0xFF)
    for _ in range(4):
        _round(state, spare)
    return state[0] ^ state[1] ^ state[2] ^ state[3]


def _round(state: list[Words], spare: Words) -> None:
    """One round in place: allocating some two hundred arrays a call would cost more than the arithmetic."""
    one, two, three, four = state
    one += two
    three += four
    _rotate(two, 13, spare)
    _rotate(four, 16, spare)
    two ^= one
    four ^= three
    _rotate(one, 32, spare)
    three += two
    one += four
    _rotate(two, 17, spare)
    _rotate(four, 21, spare)
    two ^= three
    four ^= one
    _rotate(three, 32, spare)


def _rotate(words: Words, count: int, spare: Words) -> None:
    np.right_shift(words, np.uint64(64 - count), out=spare)
    np.left_shift(words, np.uint64(count), out=words)
    words |= spare
