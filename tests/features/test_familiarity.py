"""Random text against honest text, known and foreign."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from kdguard.features.familiarity import SCALE, TOO_FEW, Familiarity
from kdguard.features.text import Words, hash_words


def hashed(texts: list[str]) -> Words:
    return hash_words(pa.array(texts, pa.string()))


def chain(rng: np.random.Generator, count: int, prefix: str) -> list[str]:
    """Texts in which each word is followed by one of three others."""
    texts = []
    for _ in range(count):
        place, words = int(rng.integers(60)), []
        for _ in range(20):
            words.append(f"{prefix}{chr(97 + place % 26)}{chr(97 + place // 26)}")
            place = (place * 7 + 1 + int(rng.integers(3))) % 60
        texts.append(" ".join(words))
    return texts


def test_shuffled_words_are_unfamiliar_and_foreign_words_are_not_judged(rng: np.random.Generator) -> None:
    known = Familiarity.fit(hashed(chain(rng, 400, "w")))
    honest = known.of(hashed(chain(rng, 50, "w")))
    shuffled = [" ".join(rng.permutation(text.split())) for text in chain(rng, 50, "w")]
    foreign = known.of(hashed(chain(rng, 50, "andere")))
    assert honest.min() > 0.9 * SCALE
    assert known.of(hashed(shuffled)).mean() < 0.5 * SCALE
    assert (foreign == TOO_FEW).all()


def test_pairs_do_not_reach_over_the_end_of_a_text() -> None:
    known = Familiarity.fit(hashed(["alpha beta gamma delta epsilon zeta eta theta"] * 20))
    whole = known.of(hashed(["alpha beta gamma delta epsilon zeta eta theta"]))
    assert known.of(hashed(["", "alpha beta gamma delta epsilon zeta eta theta", ""])).tolist() == [
        TOO_FEW,
        whole[0],
        TOO_FEW,
    ]
    assert known.of(hashed(["alpha", "beta", "gamma"])).tolist() == [TOO_FEW] * 3
