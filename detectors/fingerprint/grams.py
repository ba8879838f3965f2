"""Counts of word runs in stretches of many texts, hashed into columns."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from scipy.sparse import csr_matrix, vstack

from kdguard.features.text import Codes, Words, hash_words, word_runs

COLUMN_BITS = 20
_ROWS_AT_ONCE = 8_192


@dataclass(frozen=True, slots=True)
class Stretch:
    """Which words of a text are looked at, and in runs of how many.

    Attributes:
        name: Name of the stretch.
        first: Words from the beginning; 0 = none.
        last: Words from the end; 0 = none. With both 0 the whole text is looked at.
        longest: Longest run of words counted.
    """

    name: str
    first: int = 0
    last: int = 0
    longest: int = 3

    def of(self, text: str | None) -> str:
        """The words inside the stretch, joined by single spaces."""
        words = (text or "").split()
        if self.first or self.last:
            words = words[: self.first] + words[max(self.first, len(words) - self.last) :]
        return " ".join(words)


def gram_counts(texts: pa.Array[pa.StringScalar], stretch: Stretch) -> csr_matrix:
    """Count word runs, shape (n, 2^20), float32."""
    parts = [
        _counts(hash_words(texts.slice(at, _ROWS_AT_ONCE)), stretch)
        for at in range(0, len(texts), _ROWS_AT_ONCE)
    ]
    return vstack(parts or [_counts(hash_words(texts), stretch)], format="csr")


def weighted(counts: csr_matrix) -> csr_matrix:
    """Logarithmic term frequency times smoothed inverse document frequency, rows of unit length, shape as given."""
    found = counts.copy()
    documents = np.bincount(found.indices, minlength=found.shape[1])
    inverse = (np.log((1 + found.shape[0]) / (1 + documents)) + 1).astype(np.float32)
    found.data = (1 + np.log(found.data)) * inverse[found.indices]
    return unit_rows(found)


def unit_rows(matrix: csr_matrix) -> csr_matrix:
    """Divide each row by its length; empty rows stay empty."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    length = np.sqrt(np.bincount(rows, matrix.data.astype(np.float64) ** 2, matrix.shape[0]))
    matrix.data = (matrix.data / np.maximum(length, 1e-12)[rows]).astype(np.float32)
    return matrix


def _counts(words: Words, stretch: Stretch) -> csr_matrix:
    codes, text = _chosen(words, stretch)
    columns, rows = [], []
    for run, owner in word_runs(codes, text, range(1, stretch.longest + 1)):
        columns.append((run >> np.uint64(64 - COLUMN_BITS)).astype(np.int32))
        rows.append(owner)
    shape = (len(words.size_bytes), 1 << COLUMN_BITS)
    column, row = np.concatenate(columns), np.concatenate(rows)
    return csr_matrix((np.ones(len(column), np.float32), (row, column)), shape=shape)


def _chosen(words: Words, stretch: Stretch) -> tuple[Codes, npt.NDArray[np.int64]]:
    """Word codes inside the stretch, and the text of each."""
    size = np.diff(words.indptr)
    text = np.repeat(np.arange(len(size)), size)
    if not stretch.first and not stretch.last:
        return words.words, text
    place = np.arange(len(words.words)) - np.repeat(words.indptr[:-1], size)
    keep = (place < stretch.first) | (place >= np.repeat(size, size) - stretch.last)
    return words.words[keep], text[keep]
