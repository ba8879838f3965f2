"""How ordinary the order of words is: machine-made random text puts together what nobody puts together."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from kdguard.features.text import Words, sum_by_text

PAIR_BITS = 20
WORD_BITS = 18
SCALE = 256
COMMON = 10
FEWEST_PAIRS = 6
TOO_FEW = -1


def _bitmap(bits: int) -> npt.NDArray[np.uint8]:
    return np.zeros(1 << (bits - 3), np.uint8)


@dataclass(frozen=True)
class Familiarity:
    """Share of neighbouring common words that a reference sample has put side by side too.

    Queries of random words are the classical way to copy a model without data of one's own (Krishna et al. 2020,
    arXiv 1910.12366); their words are ordinary and their pairs are not. Counting only pairs of two common words is
    what tells them from honest text in a language or on a subject that the reference knows little of: there the
    words themselves are uncommon, and hardly a pair is counted.

    Attributes:
        common: Bit of each word bucket: the word occurs at least ten times in the sample, shape (2^15,), packed.
        seen: Bit of each pair bucket: the pair occurs in the sample, shape (2^17,), packed.
    """

    common: npt.NDArray[np.uint8] = field(default_factory=lambda: _bitmap(WORD_BITS))
    seen: npt.NDArray[np.uint8] = field(default_factory=lambda: _bitmap(PAIR_BITS))

    @classmethod
    def fit(cls, words: Words) -> Familiarity:
        """Look at the words and pairs of n reference texts."""
        counts = np.bincount(_bucket(words.words, WORD_BITS), minlength=1 << WORD_BITS)
        seen = np.zeros(1 << PAIR_BITS, np.bool_)
        seen[_bucket(words.bigrams, PAIR_BITS)] = True
        return cls(np.packbits(counts >= COMMON), np.packbits(seen))

    def of(self, words: Words) -> npt.NDArray[np.int32]:
        """Share of a text's common pairs that the sample has, times 256, shape (n,); -1 = fewer than six pairs."""
        common = _at(self._is_common, words.words, WORD_BITS)
        counted = np.zeros(len(common), np.bool_)
        counted[:-1] = common[:-1] & common[1:]
        counted[words.indptr[1:][np.diff(words.indptr) > 0] - 1] = (
            False  # a text's last word has no successor
        )
        known = counted & _at(self._is_seen, words.bigrams, PAIR_BITS)
        pairs = sum_by_text(counted.astype(np.int64), words.indptr)
        share = SCALE * sum_by_text(known.astype(np.int64), words.indptr) // np.maximum(pairs, 1)
        return np.where(pairs >= FEWEST_PAIRS, share, TOO_FEW).astype(np.int32)

    # A byte for a bit, in 1.3 MB: looked up more often than anything else in scoring.
    @cached_property
    def _is_common(self) -> npt.NDArray[np.bool_]:
        return np.unpackbits(self.common).view(np.bool_)

    @cached_property
    def _is_seen(self) -> npt.NDArray[np.bool_]:
        return np.unpackbits(self.seen).view(np.bool_)


def _bucket(codes: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.int64]:
    return (codes >> np.uint64(64 - bits)).astype(np.int64)


def _at(table: npt.NDArray[np.bool_], codes: npt.NDArray[np.uint64], bits: int) -> npt.NDArray[np.bool_]:
    return np.take(table, _bucket(codes, bits))
