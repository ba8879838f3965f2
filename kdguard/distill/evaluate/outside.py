"""Prompts out of distribution: tasks that were not taught, and words without order.

Prompts of another world are no such thing: worlds differ in what is answered, and ask alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.dice import dice
from kdguard.distill.corpora.example import Example
from kdguard.distill.corpora.words import ARTISTS, CITIES, DAYS, FOODS, RELATIVES, THINGS
from kdguard.distill.corpora.worlds import world_of

WORDS: Final = "words"
_ALL: Final = (*CITIES, *DAYS, *FOODS, *ARTISTS, *RELATIVES, *THINGS)
_LENGTH: Final = 6


def prompts_outside(world: str, tasks: Sequence[str], count: int, seed: int) -> list[Example]:
    """Prompts of each of the tasks, in equal shares as far as they go.

    Args:
        world: Whose tasks.
        tasks: Of the corpora, or "words".
        count: Prompts in all.
        seed: Which ones.

    Raises:
        InputError: A task that does not exist.
    """
    kinds = tuple(task for task in tasks if task != WORDS)
    strange = 0 if WORDS not in tasks else count // len(tasks) if kinds else count
    found = examples(world_of(world), count - strange, seed=seed, split="test", kinds=kinds) if kinds else []
    return found + word_prompts(strange, seed)


def word_prompts(count: int, seed: int) -> list[Example]:
    """Six words of the corpora without order: nothing can be right about them."""
    return [
        Example(" ".join(die.pick(_ALL) for _ in range(_LENGTH)), "", None, None, WORDS, ())
        for die in islice(dice(seed, WORDS), count)
    ]
