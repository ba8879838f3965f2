"""Keys of marks, and decoy keys that any verifier derives again from the key once it is revealed.

A key that was committed to before its first use commits to all its decoys as well: they follow from it by a public
function, so nobody can have chosen them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt

from kdguard.errors import WatermarkError

Words = npt.NDArray[np.uint64]

_DOMAIN: Final = b"kdguard/wm/v1"
_WORD_BYTES: Final = 8


@dataclass(frozen=True, slots=True)
class MarkKey:
    """The key of one mark.

    Attributes:
        words: What the scheme's function takes, 64 bits each, shape (k,).
        secret: Bytes that decoys are derived from.
        account: Whose; empty for one key for all.
        among: Accounts that have such a key of their own, this one among them.
    """

    words: Words = field(repr=False)
    secret: bytes = field(repr=False)
    account: str = field(default="", repr=False)
    among: int = field(default=1, repr=False)

    def decoys(self, count: int, bits: int = 64) -> Words:
        """Keys that marked nothing.

        Args:
            count: How many, M.
            bits: Width of each word, as the scheme draws its keys.

        Returns:
            Shape (M, k), uint64.
        """
        return _stream(self.secret, b"decoy", count * len(self.words), bits).reshape(count, -1)


def derived_key(secret: bytes, words: int, bits: int = 64) -> MarkKey:
    """The key that secret bytes, such as a ledger's derived key, give a scheme of `words` words.

    Raises:
        WatermarkError: Fewer than 16 bytes.
    """
    if len(secret) < 16:
        raise WatermarkError(
            f"a secret must have at least 16 bytes, got {len(secret)}; 32 random ones are right"
        )
    return MarkKey(_stream(secret, b"mark", words, bits), secret)


def foreign_key(words: Sequence[int]) -> MarkKey:
    """A key that other software was given as whole numbers: vLLM's one, transformers' list of SynthID keys.

    Raises:
        WatermarkError: A number does not fit 64 bits.
    """
    if not words or not all(0 <= word < 1 << 64 for word in words):
        raise WatermarkError("a key is one or more whole numbers from 0 to 2^64 - 1")
    told = np.array(words, np.uint64)
    return MarkKey(told, hashlib.sha256(told.astype("<u8").tobytes()).digest())


def _stream(secret: bytes, use: bytes, words: int, bits: int) -> Words:
    """Words of SHAKE-256 over domain, use and secret, each field with its length before it."""
    fields = (_DOMAIN, use, secret)
    told = b"".join(len(part).to_bytes(4, "little") + part for part in fields)
    drawn = np.frombuffer(hashlib.shake_256(told).digest(_WORD_BYTES * words), "<u8")
    return drawn.astype(np.uint64) >> np.uint64(64 - bits)
