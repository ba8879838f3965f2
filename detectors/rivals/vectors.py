"""Vectors of texts for methods that expect a sentence encoder.

The papers use neural encoders of images or sentences. Here hashed word and bigram counts, weighted by how
rare they are among honest prompts, are projected to 96 Gaussian dimensions and brought to length 1. It is a
stand-in that needs no download and says what a text is about, not what it means; results with it are ours,
not the papers'.

References:
    Weinberger et al. (2009), ICML (feature hashing); Johnson and Lindenstrauss (1984).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix

from kdguard.features.text import hash_words

Floats = npt.NDArray[np.float64]

DIMENSIONS = 96
_BITS = 15


@dataclass(frozen=True)
class Vectors:
    """A projection fitted on honest prompts.

    Attributes:
        rarity: Weight of each bucket, shape (2^15,).
    """

    rarity: npt.NDArray[np.float32]

    @classmethod
    def fit(cls, prompts: pa.Array[Any]) -> Vectors:
        """Weigh buckets by inverse document frequency."""
        counts = hashed_counts(prompts)
        frequency = np.bincount(counts.indices, minlength=1 << _BITS)
        return cls(np.log((1.0 + counts.shape[0]) / (1.0 + frequency)).astype(np.float32))

    def of(self, prompts: pa.Array[Any]) -> npt.NDArray[np.float32]:
        """Vectors of n prompts, shape (n, 96), unit length; a prompt without words is the zero vector."""
        counts = hashed_counts(prompts)
        counts.data = np.log1p(counts.data) * self.rarity[counts.indices]
        found = np.asarray(counts @ _projection())
        length = np.linalg.norm(found, axis=1, keepdims=True)
        unit: npt.NDArray[np.float32] = (found / np.maximum(length, 1e-12)).astype(np.float32)
        return unit


def hashed_counts(prompts: pa.Array[Any]) -> csr_matrix:
    """Counts of hashed words and bigrams, shape (n, 2^15), each bucket once a row."""
    words = hash_words(prompts)
    shift = np.uint64(64 - _BITS)
    index = np.empty(2 * len(words.words), np.int64)
    index[0::2] = words.words >> shift
    index[1::2] = words.bigrams >> shift
    ones = np.ones(len(index), np.float32)
    counts = csr_matrix((ones, index, 2 * words.indptr), shape=(len(words.indptr) - 1, 1 << _BITS))
    counts.sum_duplicates()
    return counts


@cache
def _projection() -> npt.NDArray[np.float32]:
    rng = np.random.default_rng(20_190_520)
    return rng.standard_normal((1 << _BITS, DIMENSIONS), dtype=np.float32)


def squared_distances(
    left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]
) -> npt.NDArray[np.float32]:
    """Squared Euclidean distances of unit (or zero) vectors, shape (n, m)."""
    lengths = np.square(left).sum(axis=1)[:, None] + np.square(right).sum(axis=1)[None, :]
    distances: npt.NDArray[np.float32] = np.maximum(lengths - 2 * (left @ right.T), 0)
    return distances
