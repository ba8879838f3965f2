"""SynthID-Text marks: a tournament of coin flips over every token.

transformers takes its coins from a table of 65,536 bits, always the same, by a hash of which only the lower 16 bits
count. The table has not exactly as many ones as zeros, and a long text reads each entry thousands of times, so the tail
for fair coins fails: on a million unmarked tokens it "finds" a mark at 20 standard deviations. `TableNull` asks what
all 65,536 keys of a layer would have scored on this very text, which one correlation by FFT tells, and adds up
independent layers: the exact chance that random keys score as high, whatever the table and the text.

References:
    Dathathri et al. (2024), Nature 634:818, for the mark; transformers' `SynthIDTextWatermarkLogitsProcessor` for
    hash and table; vLLM's SynthID for bits of one Philox word. S3 and S5 of the definitions.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Final

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark import tails
from kdguard.detectors.watermark.prf.mersenne import coins
from kdguard.detectors.watermark.prf.philox import philox_words
from kdguard.detectors.watermark.schemes.scheme import Floats, Null, Scheme, Totals, Words
from kdguard.detectors.watermark.windows import Ints, Repeats, Windows
from kdguard.errors import WatermarkError

_MULTIPLIER: Final = np.uint64(6364136223846793005)
_ONE: Final = np.uint64(1)


@dataclass(frozen=True)
class SynthIdPhilox(Scheme):
    """vLLM's SynthID. A token scores the number of ones among the lower bits of its Philox word.

    Attributes:
        width: Tokens in a window; vLLM's `context_width`.
        depth: Layers of the tournament, at most 32.

    Raises:
        WatermarkError: A width below 1 or a depth outside 1 to 32.
    """

    name: ClassVar[str] = "synthid-philox"
    repeats: ClassVar[Repeats] = "window"
    padded: ClassVar[bool] = True
    width: int = 4
    depth: int = 32

    def __post_init__(self) -> None:
        if self.width < 1 or not 1 <= self.depth <= 32:
            raise WatermarkError(
                f"SynthID needs width >= 1 and depth from 1 to 32, got {self.width} and {self.depth}"
            )

    @property
    def mean(self) -> float:
        """Ones among fair coins."""
        return self.depth / 2

    @property
    def variance(self) -> float:
        """Of the same."""
        return self.depth / 4

    def scores(self, key: Words, windows: Windows) -> Floats:
        """See `Scheme`."""
        words = philox_words(key[..., 0], windows.before, windows.tokens)
        return np.bitwise_count(words & np.uint32((1 << self.depth) - 1)).astype(np.float64)

    def log10_tail(self, score: Floats, scored: Ints) -> Floats:
        """Binomial tail, exact."""
        return tails.binomial(score, scored * self.depth, 0.5)


@dataclass(frozen=True)
class SynthIdTable(Scheme):
    """transformers' SynthID; a key is one number a layer.

    Attributes:
        depth: Layers: how many `keys` the model was given.
        ngram_len: Window and token; transformers' `ngram_len`.
        table_seed: transformers' `sampling_table_seed`.
        table_bits: log2 of `sampling_table_size`.

    Raises:
        WatermarkError: A window without tokens, no layer, or an impossible table.
    """

    name: ClassVar[str] = "synthid-table"
    repeats: ClassVar[Repeats] = "window"
    depth: int = 30
    ngram_len: int = 5
    table_seed: int = 0
    table_bits: int = 16

    def __post_init__(self) -> None:
        if self.ngram_len < 2 or self.depth < 1 or not 1 <= self.table_bits <= 20:
            raise WatermarkError(
                f"SynthID needs ngram_len >= 2, depth >= 1 and a table of 2 to 2^20 bits, got {self.ngram_len}, "
                f"{self.depth} and 2^{self.table_bits}"
            )

    @property
    def width(self) -> int:
        """Tokens before the token."""
        return self.ngram_len - 1

    @property
    def key_words(self) -> int:
        """One word a layer."""
        return self.depth

    @property
    def mean(self) -> float:
        """What fair coins would give; the text's own mean is `TableNull`'s."""
        return self.depth / 2

    @property
    def variance(self) -> float:
        """What fair coins would give."""
        return self.depth / 4

    def scores(self, key: Words, windows: Windows) -> Floats:
        """Ones among the layers' coins of each token."""
        return self.g_values(key, windows).sum(axis=1, dtype=np.float64)

    def g_values(self, key: Words, windows: Windows) -> npt.NDArray[np.uint8]:
        """The coins, as `compute_g_values` gives them, shape (n, depth), 0 or 1."""
        hashed = self.hashes(windows)[:, None]
        return self._table()[_accumulated(hashed, key[None, :]) & self._mask]

    def hashes(self, windows: Windows) -> Words:
        """Hash of window and token before any key enters, shape (n,)."""
        hashed = np.ones(len(windows), np.uint64)
        for column in (*windows.before.T, windows.tokens):
            hashed = _accumulated(hashed, column.astype(np.uint64))
        return hashed

    def log10_tail(self, score: Floats, scored: Ints) -> Floats:
        """What fair coins would give: only for comparison, see the module."""
        return tails.binomial(score, scored * self.depth, 0.5)

    def null(self, windows: Windows, subjects: int) -> Null:
        """See `Scheme`."""
        return TableNull(self, windows, subjects)

    def layer_scores(self, hashes: Words) -> Ints:
        """What one layer scores on these hashes under each of the table's 2^bits keys, shape (2^bits,)."""
        size = 1 << self.table_bits
        counts = np.bincount((hashes & self._mask).astype(np.int64), minlength=size)
        places = np.arange(size, dtype=np.uint64)
        coin_after = self._table()[_accumulated(places, np.uint64(0)) & self._mask]
        product = np.conj(np.fft.rfft(counts.astype(np.float64))) * np.fft.rfft(coin_after.astype(np.float64))
        return np.rint(np.fft.irfft(product, size)).astype(np.int64)

    @property
    def _mask(self) -> np.uint64:
        return np.uint64((1 << self.table_bits) - 1)

    def _table(self) -> npt.NDArray[np.uint8]:
        return _coins(self.table_seed, 1 << self.table_bits)


class TableNull:
    """The exact distribution of SynthID's total over random keys of the table, see the module."""

    def __init__(self, scheme: SynthIdTable, windows: Windows, subjects: int) -> None:
        self._scheme = scheme
        hashes = scheme.hashes(windows)
        self._scored = np.bincount(windows.subjects, minlength=subjects)
        self._layers = [
            scheme.layer_scores(hashes[windows.subjects == subject]) for subject in range(subjects)
        ]

    def totals(self, keys: Words) -> Totals:
        """See `Null`."""
        places = (keys & self._scheme._mask).astype(np.int64)
        score = np.stack([layer[places].sum(axis=1) for layer in self._layers], axis=1).astype(np.float64)
        return Totals(score, np.broadcast_to(self._scored, score.shape))

    def z(self, totals: Totals) -> Floats:
        """See `Null`."""
        depth = self._scheme.depth
        mean = np.array([layer.mean() for layer in self._layers]) * depth
        spread = np.sqrt(np.array([layer.var() for layer in self._layers]) * depth)
        return (totals.score - mean) / np.where(spread > 0, spread, 1.0)

    def log10_tail(self, totals: Totals) -> Floats:
        """See `Null`."""
        columns = [
            [tails.sum_of_draws(layer, self._scheme.depth, total) for total in totals.score[:, subject]]
            for subject, layer in enumerate(self._layers)
        ]
        return np.array(columns).T


@lru_cache(maxsize=8)
def _coins(seed: int, size: int) -> npt.NDArray[np.uint8]:
    return coins(seed, size)


def _accumulated(hashed: Words, data: Any) -> Words:
    """One step of the linear congruential hash, modulo 2^64."""
    return (hashed + data) * _MULTIPLIER + _ONE
