"""Models as small as can be, for tests of the statistics alone; real students are in `tests/bench/radioactivity.py`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kdguard.detectors.watermark.keys import MarkKey, derived_key
from kdguard.detectors.watermark.schemes.green import GreenSiphash
from kdguard.detectors.watermark.windows import Texts, Windows

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

VOCAB = 60
SCHEME = GreenSiphash(1, 0.25)
KEY = derived_key(b"radioactivity of bigrams", 2)


def teacher(seed: int = 0) -> Floats:
    """Chances of the next token after each, shape (VOCAB, VOCAB)."""
    return np.random.default_rng(seed).dirichlet(np.full(VOCAB, 0.5), VOCAB)


def marked(chances: Floats, key: MarkKey = KEY, delta: float = 3.0) -> Floats:
    """The same with green tokens made likelier."""
    before, tokens = (side.ravel() for side in np.indices((VOCAB, VOCAB)))
    windows = Windows(before[:, None], tokens, np.zeros(VOCAB**2, np.int64))
    raised = chances * np.exp(delta * SCHEME.scores(key.words, windows).reshape(VOCAB, VOCAB))
    return raised / raised.sum(1, keepdims=True)


def write(chances: Floats, rng: np.random.Generator, texts: int, length: int = 100) -> list[Ints]:
    """Texts of a bigram model."""
    reached = chances.cumsum(1)
    told = np.zeros((texts, length), np.int64)
    told[:, 0] = rng.integers(0, VOCAB, texts)
    for place in range(1, length):
        drawn = (reached[told[:, place - 1]] < rng.random((texts, 1))).sum(1)
        told[:, place] = drawn.clip(max=VOCAB - 1)
    return list(told)


def student(texts: list[Ints]) -> Floats:
    """Shares of the next token after each, as counted in texts."""
    counts = np.full((VOCAB, VOCAB), 0.01)
    for text in texts:
        np.add.at(counts, (text[:-1], text[1:]), 1)
    return counts / counts.sum(1, keepdims=True)


def taught(dose: float, rng: np.random.Generator, *, texts: int = 600, key: MarkKey = KEY) -> Floats:
    """A student of the teacher's text, the share `dose` of it marked."""
    count = round(dose * texts)
    plain = write(teacher(), rng, texts - count)
    return student(plain + write(marked(teacher(), key), rng, count) if count else plain)


def clean(rng: np.random.Generator, texts: int = 1_000) -> Texts:
    """What students wrote that saw no mark."""
    return Texts.of(write(taught(0.0, rng), rng, texts))
