"""What every mark tells of itself: what its key decides of each token, and how that is spread over keys."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import asdict
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark.windows import Ints, Repeats, Windows

Floats = npt.NDArray[np.float64]
Words = npt.NDArray[np.uint64]


class Totals(NamedTuple):
    """Sums of scores over the tokens of s subjects under m keys.

    Attributes:
        score: Shape (m, s).
        scored: Tokens that the key scores, shape (m, s), int64.
    """

    score: Floats
    scored: Ints


class Null(Protocol):
    """How a text's total is spread over random keys, the text being what it is."""

    def totals(self, keys: Words) -> Totals:
        """Totals under keys of shape (m, k)."""
        ...

    def z(self, totals: Totals) -> Floats:
        """Standard deviations above the mean, shape (m, s); 0 where nothing is scored."""
        ...

    def log10_tail(self, totals: Totals) -> Floats:
        """log10 of the chance that a random key scores at least as high, shape (m, s)."""
        ...


class Scheme(ABC):
    """A mark with its parameters; subclasses are frozen dataclasses.

    Attributes:
        name: As in `registry` and on the command line.
        repeats: Whether a window counts once, or a window with a token.
        padded: Whether tokens near the beginning are marked by an incomplete window.
        key_bits: Bits of each word that keys are drawn with.
        at_once: Tokens that are scored together: so many that intermediate words fit the second-level cache.
    """

    name: ClassVar[str]
    repeats: ClassVar[Repeats] = "pair"
    padded: ClassVar[bool] = False
    key_bits: ClassVar[int] = 64
    at_once: ClassVar[int] = 8_192

    @property
    @abstractmethod
    def width(self) -> int:
        """Tokens in a window, w."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """Of one token's score over keys."""

    @property
    @abstractmethod
    def variance(self) -> float:
        """Of one token's score over keys."""

    @property
    def key_words(self) -> int:
        """64-bit words of a key, k."""
        return 1

    @abstractmethod
    def scores(self, key: Words, windows: Windows) -> Floats:
        """What a key says of every token, larger = more like its mark, shape (n,); NaN = this key cannot tell.

        Args:
            key: Shape (k,), or (n, k) for a key a token.
            windows: n tokens.
        """

    @abstractmethod
    def log10_tail(self, score: Floats, scored: Ints) -> Floats:
        """log10 of the chance that so many tokens' scores sum to at least `score` under a random key, elementwise."""

    def sources(self, windows: Windows) -> list[Ints]:
        """What of the windows the mark depends on, columns of shape (n,)."""
        return list(windows.before.T)

    def null(self, windows: Windows, subjects: int) -> Null:
        """The distribution over keys, for tokens already selected."""
        return Independent(self, windows, subjects)

    def record(self) -> dict[str, Any]:
        """Scheme and parameters as plain values: what a commitment's digest is made of."""
        return {"scheme": self.name} | asdict(self)  # type: ignore[call-overload]


class Independent:
    """Scores of different tokens are independent over keys, and of one known distribution."""

    def __init__(self, scheme: Scheme, windows: Windows, subjects: int) -> None:
        self._scheme, self._subjects = scheme, subjects
        size = scheme.at_once
        self._chunks = [
            _by_column(windows.take(slice(begin, begin + size))) for begin in range(0, len(windows), size)
        ]

    def totals(self, keys: Words) -> Totals:
        """See `Null`."""
        score = np.zeros((len(keys), self._subjects))
        scored = np.zeros((len(keys), self._subjects), np.int64)
        for place, key in enumerate(keys):
            for chunk in self._chunks:
                told = self._scheme.scores(key, chunk)
                self._add(score[place], scored[place], told, chunk.subjects)
        return Totals(score, scored)

    def z(self, totals: Totals) -> Floats:
        """See `Null`."""
        spread = np.sqrt(np.maximum(totals.scored, 1) * self._scheme.variance)
        return (totals.score - totals.scored * self._scheme.mean) / spread

    def log10_tail(self, totals: Totals) -> Floats:
        """See `Null`."""
        return self._scheme.log10_tail(totals.score, totals.scored)

    def _add(self, score: Floats, scored: Ints, told: Floats, subjects: Ints) -> None:
        known = ~np.isnan(told)
        if not known.all():
            told, subjects = told[known], subjects[known]
        if self._subjects == 1:
            score[0] += told.sum()
            scored[0] += len(told)
        else:
            score += np.bincount(subjects, told, self._subjects)
            scored += np.bincount(subjects, minlength=self._subjects)


def _by_column(windows: Windows) -> Windows:
    """The same, each column of the windows in one piece of memory."""
    return Windows(np.asfortranarray(windows.before), windows.tokens, windows.subjects)
