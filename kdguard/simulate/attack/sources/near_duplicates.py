"""Prompts one word away from others: the cheapest way to look varied and to map a border.

References:
    The edit-distance-1 queries of https://github.com/google-research/language (bert_extraction), at the level of words.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.simulate.attack.sources.random_text import commonest
from kdguard.simulate.attack.sources.source import PromptSource, check_count

EDITS = ("replace", "insert", "delete", "swap")


@dataclass(frozen=True)
class NearDuplicates:
    """Variants of few prompts, each one edit from its original.

    Attributes:
        of: Where the originals come from.
        variants: Prompts an original stands for, itself included.
    """

    of: PromptSource
    variants: int = 8

    def draw(self, n: int, rng: np.random.Generator) -> list[str]:
        """Write `n` prompts; the first of each family is the original."""
        originals = self.of.draw(-(-check_count(n) // self.variants), rng)
        words = commonest(originals, 2_000) or ["so"]
        found = []
        for i in range(n):
            text = originals[i // self.variants]
            found.append(one_edit(text, words, rng) if i % self.variants else text)
        return found


def one_edit(text: str, words: list[str], rng: np.random.Generator) -> str:
    """Replace, insert or delete one word, or swap two neighbours; never gives the same words back."""
    parts = text.split()
    edit = EDITS[int(rng.integers(len(EDITS)))]
    if not parts or (edit == "delete" and len(parts) < 2):
        edit = "insert"
    place = int(rng.integers(max(len(parts), 1)))
    other = words[int(rng.integers(len(words)))]
    if edit == "swap" and place + 1 < len(parts) and parts[place] != parts[place + 1]:
        parts[place : place + 2] = parts[place + 1], parts[place]
    elif edit == "delete":
        del parts[place]
    elif edit == "replace" and parts[place] != other:
        parts[place] = other
    else:
        parts.insert(place, other)
    return " ".join(parts)
