"""Green lists as transformers writes them: a shuffled vocabulary, seeded by the last token or by the window itself.

What transformers 5.23 computes is followed to the bit, flaws included, and scored so that the flaws cannot count as
evidence:

- `lefthash` seeds by the last token alone whatever `context_width` says, so that token and the next count once;
- after token 0 the seed is 0 and the list the same under every key, so nothing is scored there;
- `selfhash` takes the smallest product over the window, so many windows share a seed: seed and token count once.

References:
    Kirchenbauer et al. (2023), arXiv 2301.10226, algorithms 2 and 3; transformers' `WatermarkLogitsProcessor`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Final

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark import tails
from kdguard.detectors.watermark.prf.mersenne import Beginnings, permutation
from kdguard.detectors.watermark.schemes.scheme import Floats, Scheme, Words
from kdguard.detectors.watermark.windows import Ints, Windows, codes_of
from kdguard.errors import WatermarkError

_TABLE: Final = 1_000_003
_SEEDS: Final = (1 << 64) - 1
_LOW: Final = 0xFFFFFFFF


@dataclass(frozen=True)
class _Kgw(Scheme):
    """What both seedings share.

    Attributes:
        vocab: The model's `vocab_size`, which the shuffle depends on.
        gamma: Share of the vocabulary that is green: transformers' `greenlist_ratio`.

    Raises:
        WatermarkError: No token or every token would be green.
    """

    key_bits: ClassVar[int] = 31
    at_once: ClassVar[int] = 1 << 24  # a seed costs far more than its tokens, and should come up once
    vocab: int
    gamma: float = 0.25

    def __post_init__(self) -> None:
        if not 0 < self.greens < self.vocab or self.width < 1:
            raise WatermarkError(
                f"vocab, gamma and width must leave green and other tokens and a window, got {self.vocab}, "
                f"{self.gamma} and {self.width}"
            )

    @property
    def greens(self) -> int:
        """Size of a green list."""
        return int(self.vocab * self.gamma)

    @property
    def mean(self) -> float:
        """Chance of green."""
        return self.greens / self.vocab

    @property
    def variance(self) -> float:
        """Of one token; tokens after the same seed vary a little less together."""
        return self.mean * (1 - self.mean)

    def log10_tail(self, score: Floats, scored: Ints) -> Floats:
        """Binomial tail; drawing without replacement within a list makes it err towards innocence."""
        return tails.binomial(score, scored, self.mean)

    def _greens(self, seeds: Ints, tokens: Ints) -> Floats:
        """1 where the token is in the list of its seed; seeds are the generator's 32 bits, shape (n,)."""
        if len(tokens) and tokens.max() >= self.vocab:
            raise WatermarkError(
                f"token ids must be below vocab {self.vocab}, got {tokens.max()}: another tokenizer made them, "
                "or vocab is not the model's vocab_size"
            )
        beginnings = Beginnings(self.vocab, self.greens)
        green = np.zeros(len(tokens))
        for seed, rows in _runs(seeds):
            green[rows] = beginnings.holds(seed, tokens[rows])
        return green


@dataclass(frozen=True)
class KgwLeft(_Kgw):
    """transformers' `lefthash`; the window it uses has one token."""

    name: ClassVar[str] = "kgw-left"

    @property
    def width(self) -> int:
        """The last token."""
        return 1

    def scores(self, key: Words, windows: Windows) -> Floats:
        """See `Scheme`."""
        last, place = np.unique(windows.before[:, -1], return_inverse=True)
        hash_key = int(key[0])
        seeds = np.array([hash_key * int(token) % _SEEDS & _LOW for token in last], np.int64)
        green = np.full(len(windows), np.nan)
        known = windows.before[:, -1] != 0
        green[known] = self._greens(seeds[place[known]], windows.tokens[known])
        return green


@dataclass(frozen=True)
class KgwSelf(_Kgw):
    """transformers' `selfhash`; the token itself is part of the window it is seeded by.

    Attributes:
        context: transformers' `context_width`: the token and those before it.
    """

    name: ClassVar[str] = "kgw-self"
    context: int = 1

    @property
    def width(self) -> int:
        """Tokens before the token that matter."""
        return self.context - 1

    def __post_init__(self) -> None:
        if self.context < 1 or not 0 < self.greens < self.vocab:
            raise WatermarkError(
                f"context must be at least 1 and gamma leave green and other tokens, got {self.context}, {self.gamma}"
            )

    def scores(self, key: Words, windows: Windows) -> Floats:
        """See `Scheme`."""
        seeds = self.seeds(int(key[0]), windows)
        identity = codes_of(windows.subjects, seeds, windows.tokens)
        _, firsts = np.unique(identity, return_index=True)
        green = np.full(len(windows), np.nan)
        green[firsts] = self._greens(seeds[firsts], windows.tokens[firsts])
        return green

    def seeds(self, hash_key: int, windows: Windows) -> Ints:
        """The generator's 32 bits for every window with its token; products wrap at 64 bits as torch's do."""
        table = permutation(hash_key, _TABLE)
        own = table[windows.tokens % _TABLE] + 1
        whole = np.column_stack((windows.before, windows.tokens))
        with np.errstate(over="ignore"):
            products = (np.int64(hash_key) * (table[whole % _TABLE] + 1)) * own[:, None]
        least = products.min(axis=1)
        # negative seeds are taken modulo 2^64 - 1, which is one less than the 64-bit pattern read as positive
        return (least - (least < 0)) & _LOW


def _runs(seeds: Ints) -> Iterator[tuple[int, npt.NDArray[np.intp]]]:
    """Places of each distinct seed."""
    order = np.argsort(seeds, kind="stable")
    ordered = seeds[order]
    begins = np.flatnonzero(np.concatenate(([True], ordered[1:] != ordered[:-1]))) if len(seeds) else order
    for begin, end in zip(begins, [*begins[1:], len(seeds)], strict=True):
        yield int(ordered[begin]), order[begin:end]
