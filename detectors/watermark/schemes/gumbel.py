"""Gumbel-max marks: the token is drawn with the key's own uniforms, without changing any token's chances.

References:
    Aaronson (2022), lecture "My AI safety work for OpenAI"; Kuditipudi et al. (2023), arXiv 2307.15593. Window,
    function and rounding are vLLM's (`GumbelWatermarkDetector`, `philox4x32-10-v1`), S1 of the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kdguard.detectors.watermark import tails
from kdguard.detectors.watermark.prf.philox import philox_words, uniform_float32
from kdguard.detectors.watermark.schemes.scheme import Floats, Scheme, Words
from kdguard.detectors.watermark.windows import Ints, Repeats, Windows
from kdguard.errors import WatermarkError


@dataclass(frozen=True)
class GumbelPhilox(Scheme):
    """vLLM's Gumbel mark. A token scores -ln(1 - U), exponential with mean 1 under a key that marked nothing.

    Attributes:
        width: Tokens in a window; vLLM's `context_width`.

    Raises:
        WatermarkError: A width below 1.
    """

    name: ClassVar[str] = "gumbel-philox"
    repeats: ClassVar[Repeats] = "window"
    padded: ClassVar[bool] = True
    width: int = 4

    def __post_init__(self) -> None:
        if self.width < 1:
            raise WatermarkError(f"a window must have at least 1 token, got {self.width}")

    @property
    def mean(self) -> float:
        """Of the exponential distribution."""
        return 1.0

    @property
    def variance(self) -> float:
        """Of the exponential distribution."""
        return 1.0

    def scores(self, key: Words, windows: Windows) -> Floats:
        """See `Scheme`."""
        uniforms = uniform_float32(philox_words(key[..., 0], windows.before, windows.tokens))
        return -np.log1p(-uniforms.astype(np.float64))

    def log10_tail(self, score: Floats, scored: Ints) -> Floats:
        """Gamma tail, exact but for the 24 bits of U, which make it err towards innocence by under 1e-6 a token."""
        return tails.gamma(score, scored)
