"""Texts that bear a mark, written without a model."""

from __future__ import annotations

import numpy as np

from kdguard.detectors.watermark.keys import derived_key
from kdguard.detectors.watermark.schemes.scheme import Scheme
from kdguard.detectors.watermark.windows import Windows


def marked_texts(
    scheme: Scheme, secret: bytes, rng: np.random.Generator, count: int, length: int
) -> list[list[int]]:
    """Texts that take a green token wherever one of two drawn is."""
    key = derived_key(secret, scheme.key_words).words
    texts = rng.integers(0, 500, (count, length, 2))
    chosen = texts[:, :, 0].copy()
    for place in range(1, length):
        for pick in (0, 1):
            windows = Windows(chosen[:, place - 1 : place], texts[:, place, pick], np.zeros(count, np.int64))
            green = scheme.scores(key, windows) > 0
            chosen[green, place] = texts[green, place, pick]
    rows: list[list[int]] = chosen.tolist()
    return rows
