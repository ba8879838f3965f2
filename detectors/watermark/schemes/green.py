"""Green lists by independent coin flips: the recommended mark where it is to be learnt by whoever trains on it.

References:
    Kirchenbauer et al. (2023), arXiv 2301.10226, for green lists; independent flips in place of a shuffled vocabulary
    as in Ceppi and Sanchez (2026), arXiv 2609.03844: then hits are binomial exactly. S2 of the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kdguard.detectors.watermark import tails
from kdguard.detectors.watermark.prf.siphash import siphash_words
from kdguard.detectors.watermark.schemes.scheme import Floats, Scheme, Words
from kdguard.detectors.watermark.windows import Ints, Windows
from kdguard.errors import WatermarkError


@dataclass(frozen=True)
class GreenSiphash(Scheme):
    """kdguard's own green list. A token scores 1 if SipHash-2-4 of window and token is below gamma 2^64, else 0.

    Attributes:
        width: Tokens in a window; 1 is learnt best, 2 is harder to reverse.
        gamma: Chance that a token is green, in (0, 1).

    Raises:
        WatermarkError: A width below 1 or a gamma outside (0, 1).
    """

    name: ClassVar[str] = "green-siphash"
    width: int = 1
    gamma: float = 0.25

    def __post_init__(self) -> None:
        if self.width < 1 or not 0 < self.gamma < 1:
            raise WatermarkError(
                f"a green list needs width >= 1 and gamma in (0, 1), got {self.width} and {self.gamma}"
            )

    @property
    def key_words(self) -> int:
        """128 bits."""
        return 2

    @property
    def mean(self) -> float:
        """Chance of green."""
        return self.gamma

    @property
    def variance(self) -> float:
        """Of one flip."""
        return self.gamma * (1 - self.gamma)

    def scores(self, key: Words, windows: Windows) -> Floats:
        """See `Scheme`."""
        words = siphash_words(key[..., 0], key[..., 1], windows.before, windows.tokens)
        return (words < np.uint64(self.gamma * 2.0**64)).astype(np.float64)

    def log10_tail(self, score: Floats, scored: Ints) -> Floats:
        """Binomial tail, exact."""
        return tails.binomial(score, scored, self.gamma)
