"""How ordinary the order of words is: machine-made random text puts together what nobody puts together."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from kdguard.features.text import Words, sum_by_text

BUCKET_BITS = 18
SCALE = 256
_MOST = 255


def _nothing_seen() -> npt.NDArray[np.uint8]:
    return np.zeros(1 << BUCKET_BITS, np.uint8)


@dataclass(frozen=True)
class Familiarity:
    """Share of neighbouring word pairs that occur in a reference sample.

    Queries of random words are the classical way to copy a model without data of one's own (Krishna et al. 2020,
    arXiv 1910.12366); their words are ordinary and their pairs are not.

    Attributes:
        seen: Times each bigram bucket occurs in the sample, capped at 255, shape (2^18,).
    """

    seen: npt.NDArray[np.uint8] = field(default_factory=_nothing_seen)

    @classmethod
    def fit(cls, words: Words) -> Familiarity:
        """Count the bigrams of n reference texts."""
        counts = np.bincount(_bucket(words.bigrams), minlength=1 << BUCKET_BITS)
        return cls(np.minimum(counts, _MOST).astype(np.uint8))

    def of(self, words: Words) -> npt.NDArray[np.int32]:
        """Mean over a text's bigrams of log2(1 + times seen), times 256, shape (n,); 0 for empty texts."""
        weight = np.rint(SCALE * np.log2(1 + np.arange(_MOST + 1))).astype(np.int64)
        total = sum_by_text(weight[self.seen[_bucket(words.bigrams)]], words.indptr)
        return (total // np.maximum(np.diff(words.indptr), 1)).astype(np.int32)


def _bucket(codes: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64]:
    return (codes >> np.uint64(64 - BUCKET_BITS)).astype(np.int64)
