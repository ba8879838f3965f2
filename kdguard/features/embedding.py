"""Where a text lies in meaning, as 128 signs: random hyperplanes over weighted word counts.

The chance that two texts differ in a sign is their angle over pi (Charikar 2002, STOC, theorem 1; Goemans and
Williamson 1995), so mean sign vectors are an exact integer kernel mean embedding: additive over requests,
accounts and machines, with no rounding that could depend on how a log was cut.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from kdguard.features.text import Words, mix

SIGNS = 128
BUCKET_BITS = 14
_MAX_WEIGHT = 15


def _unit_weights() -> npt.NDArray[np.int64]:
    return np.ones(1 << BUCKET_BITS, np.int64)


@dataclass(frozen=True)
class Embedding:
    """Signs of random projections of word counts, each word weighted by how rare it is.

    Attributes:
        weights: Integer weight of each word bucket, shape (2^14,), 0 to 15.
    """

    weights: npt.NDArray[np.int64] = field(default_factory=_unit_weights)

    @classmethod
    def fit(cls, words: Words) -> Embedding:
        """Weigh word buckets by inverse document frequency over a reference sample of n texts."""
        texts = len(words.indptr) - 1
        owner = np.repeat(np.arange(texts), np.diff(words.indptr))
        pairs = np.unique(owner * (1 << BUCKET_BITS) + _bucket(words.words))
        frequency = np.bincount(pairs % (1 << BUCKET_BITS), minlength=1 << BUCKET_BITS)
        rarity = np.log2((1 + texts) / (1 + frequency))
        return cls(np.clip(np.rint(rarity), 0, _MAX_WEIGHT).astype(np.int64))

    def signs(self, words: Words) -> npt.NDArray[np.uint8]:
        """Project n texts.

        Args:
            words: Hashed words of n texts.

        Returns:
            Packed signs, shape (n, 16), uint8; bit j of a row is 1 where projection j is positive.
        """
        texts = len(words.indptr) - 1
        if texts == 0:
            return np.empty((0, SIGNS // 8), np.uint8)
        # Whole numbers, so the sum does not depend on its order; the narrowest that hold it are twice as fast.
        narrow = int(np.diff(words.indptr).max()) * _MAX_WEIGHT <= np.iinfo(np.int16).max
        table = self._table if narrow else self._table.astype(np.int32)
        ones = np.ones(len(words.words), np.int16)
        counts = csr_matrix(
            (ones, _bucket(words.words).astype(np.int32), words.indptr), shape=(texts, 1 << BUCKET_BITS)
        )
        total: npt.NDArray[np.signedinteger] = np.asarray(counts @ table)
        return np.packbits(total > 0, axis=1)

    @cached_property
    def _table(self) -> npt.NDArray[np.int16]:
        bucket = np.arange(1 << BUCKET_BITS, dtype=np.uint64)
        halves = np.stack([mix(bucket + np.uint64(1)), mix(~bucket)], axis=1)
        bits = np.unpackbits(halves.view(np.uint8), axis=1).astype(np.int16)
        return (2 * bits - 1) * self.weights[:, None].astype(np.int16)


def unpack(signs: npt.NDArray[np.uint8]) -> npt.NDArray[np.int8]:
    """Turn packed signs of shape (n, 16) into -1 and +1 of shape (n, 128)."""
    return (2 * np.unpackbits(signs, axis=1).astype(np.int8) - 1).astype(np.int8)


def _bucket(codes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    return (codes >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)
