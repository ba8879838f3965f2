"""How alike texts are: sets of word pairs, their MinHash, and the bands that bring alike texts together.

References:
    Broder (1997), On the resemblance and containment of documents. Leskovec, Rajaraman and Ullman (2020), Mining of
    Massive Datasets, section 3.4, for the bands.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute

from kdguard.features.text import Codes, hash_words, mix

pc: Any = pyarrow.compute  # its type stubs refuse much that it takes

BANDS: Final = 20
BAND_ROWS: Final = 6
_STEP: Final = 0x9E3779B97F4A7C15  # splitmix64
# Features of traffic take all digits for one; here 17 + 5 and 23 + 9 are two tasks. These letters count as words.
_DIGITS: Final = {str(digit): chr(0x0660 + digit) for digit in range(10)}


@dataclass(frozen=True, slots=True)
class Shingles:
    """Word pairs of n texts.

    Attributes:
        codes: Hashed pairs, each text's own sorted and once, shape (t,), uint64.
        indptr: Those of text i are `indptr[i]:indptr[i + 1]`; shape (n + 1,), int64.
    """

    codes: Codes
    indptr: npt.NDArray[np.int64]

    def similarities(self, row: int, others: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """Jaccard similarity of one text with others, shape as `others`; 0 where both are empty."""
        if not len(others):
            return np.empty(0)
        mine = self.codes[self.indptr[row] : self.indptr[row + 1]]
        starts, sizes = self.indptr[others], self.indptr[others + 1] - self.indptr[others]
        ends = np.cumsum(sizes)
        theirs = self.codes[np.arange(ends[-1]) + np.repeat(starts - (ends - sizes), sizes)]
        place = np.minimum(np.searchsorted(mine, theirs), max(len(mine) - 1, 0))
        met = np.concatenate(([0], np.cumsum(mine[place] == theirs))) if len(mine) else np.zeros(ends[-1] + 1)
        shared = met[ends] - met[ends - sizes]
        return shared / np.maximum(len(mine) + sizes - shared, 1)


def shingles(texts: pa.Array[Any]) -> Shingles:
    """Hash the word pairs of each text, the last word paired with the end. Case does not count, digits do.

    A text over 16 KiB is read at its two ends, see `kdguard.features.text.hash_words`.
    """
    for digit, letter in _DIGITS.items():
        texts = pc.replace_substring(texts, digit, letter)
    words = hash_words(texts)
    row = np.repeat(np.arange(len(words.indptr) - 1), np.diff(words.indptr))
    order = np.lexsort((words.bigrams, row))
    codes, row = words.bigrams[order], row[order]
    first = np.ones(len(codes), np.bool_)
    first[1:] = (codes[1:] != codes[:-1]) | (row[1:] != row[:-1])
    indptr = np.searchsorted(row[first], np.arange(len(words.indptr)))
    return Shingles(codes[first], indptr)


def band_keys(sets: Shingles) -> npt.NDArray[np.uint64]:
    """Keys of shape (n, BANDS); two sets of similarity J share a given key with probability J^BAND_ROWS.

    Sets without members get keys 0 and are alike to nothing.
    """
    full = np.diff(sets.indptr) > 0
    keys = np.zeros((len(full), BANDS), np.uint64)
    starts = sets.indptr[:-1][full]
    if not len(starts):
        return keys
    for band in range(BANDS):
        key = np.full(len(starts), band + 1, np.uint64)
        for place in range(BAND_ROWS):
            salt = np.uint64((band * BAND_ROWS + place + 1) * _STEP % (1 << 64))
            least = np.minimum.reduceat(mix(sets.codes ^ salt), starts)
            key = mix(key * np.uint64(_STEP) + least)
        keys[full, band] = np.maximum(key, 1)
    return keys
