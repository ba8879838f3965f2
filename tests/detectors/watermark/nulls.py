"""Texts that bear no mark, of the kinds that fool detectors: words of Zipf's law, loops, templates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.windows import Texts, Windows, identities, select, windows_of

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
VOCAB = 4_000


def uniform(rng: np.random.Generator, count: int, length: int) -> Ints:
    """Every token as likely as any other."""
    return rng.integers(1, VOCAB, (count, length))


def zipf(rng: np.random.Generator, count: int, length: int) -> Ints:
    """Zipf's law with exponent 1.1."""
    chance = 1 / np.arange(1, VOCAB) ** 1.1
    return 1 + rng.choice(VOCAB - 1, (count, length), p=chance / chance.sum())


def loops(rng: np.random.Generator, count: int, length: int) -> Ints:
    """A phrase of 3 to 12 tokens over and over, with a word replaced now and then."""
    period = rng.integers(3, 13, count)
    phrase = zipf(rng, count, 12)
    text = np.take_along_axis(phrase, np.arange(length) % period[:, None], axis=1)
    return np.where(rng.random(text.shape) < 0.05, zipf(rng, count, length), text)


def templates(rng: np.random.Generator, count: int, length: int) -> Ints:
    """One frame that all texts share, with a slot in every fourth place."""
    frame = np.broadcast_to(zipf(rng, 1, length), (count, length))
    return np.where(np.arange(length) % 4 == 3, zipf(rng, count, length), frame)


KINDS: dict[str, Callable[[np.random.Generator, int, int], Ints]] = {
    "uniform": uniform,
    "zipf": zipf,
    "loops": loops,
    "templates": templates,
}


def log10_p_of_nulls(
    scheme: Scheme, rng: np.random.Generator, kind: str, *, texts: int, keys: int, length: int
) -> Floats:
    """log10 p of texts without a mark under fresh keys: `texts` texts, `keys` keys each, a key for every text.

    Only for schemes whose score takes a key a token.
    """
    pool = Texts.of(list(KINDS[kind](rng, texts, length)))
    windows = windows_of(pool, scheme.width, padded=scheme.padded, subjects=np.arange(texts))
    kept = select(
        windows, identities(windows, scheme.sources(windows), scheme.repeats), subjects=texts
    ).windows
    order = np.argsort(kept.subjects, kind="stable")
    kept = kept.take(order)
    found = np.concatenate([_under_fresh_keys(scheme, kept, rng, texts) for _ in range(keys)])
    return found


def _under_fresh_keys(scheme: Scheme, kept: Windows, rng: np.random.Generator, texts: int) -> Floats:
    keys = rng.integers(0, 1 << 64, (texts, scheme.key_words), np.uint64)
    score, scored = np.zeros(texts), np.bincount(kept.subjects, minlength=texts)
    for begin in range(0, len(kept), 8_192):
        part = kept.take(slice(begin, begin + 8_192))
        told = scheme.scores(keys[part.subjects], part)
        score += np.bincount(part.subjects, told, texts)
    return scheme.log10_tail(score, scored)
