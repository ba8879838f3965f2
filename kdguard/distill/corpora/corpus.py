"""Corpora: endless sequences of examples of chosen tasks, one world, one seed, train or test."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from types import MappingProxyType

from kdguard.distill.corpora.arithmetic import arithmetic
from kdguard.distill.corpora.dice import Dice, dice
from kdguard.distill.corpora.example import Example, Split
from kdguard.distill.corpora.facts import facts
from kdguard.distill.corpora.intents import intents
from kdguard.distill.corpora.refusals import refusals
from kdguard.distill.corpora.tools import tools
from kdguard.distill.corpora.worlds import World
from kdguard.errors import InputError

Task = Callable[[World, Dice], Example]
TASKS: Mapping[str, Task] = MappingProxyType(
    {"arithmetic": arithmetic, "intents": intents, "tools": tools, "refusals": refusals, "facts": facts}
)
TEST_SHARE = 0.1
_KEY = b"kdguard corpora: train or test"


def split_of(prompt: str) -> Split:
    """Whether a prompt belongs to train or test: by a keyed hash, so that no prompt is ever in both."""
    digest = hashlib.blake2b(prompt.encode(), digest_size=8, key=_KEY).digest()
    return "test" if int.from_bytes(digest, "little") < TEST_SHARE * 2**64 else "train"


def stream(
    world: World,
    *,
    seed: int,
    split: Split = "train",
    kinds: Sequence[str] | Mapping[str, float] = tuple(TASKS),
) -> Iterator[Example]:
    """Examples without end; the same arguments give the same sequence.

    A prompt may come again, with another wording of its answer: worlds have several.

    Args:
        world: Whose answers.
        seed: Which sequence.
        split: Prompts of the other split are passed over.
        kinds: Tasks, alike or with their shares.

    Raises:
        InputError: No task, a task that does not exist, or shares that are not positive in sum.
    """
    shares = dict(kinds) if isinstance(kinds, Mapping) else dict.fromkeys(kinds, 1.0)
    unknown = sorted(shares.keys() - TASKS.keys())
    total = sum(shares.values())
    if unknown or not total > 0 or min(shares.values()) < 0:
        raise InputError(
            f"a corpus needs tasks out of {', '.join(TASKS)} with shares of at least 0, got {shares or 'none'}"
        )
    tasks = [TASKS[kind] for kind in shares]
    weights = [share / total for share in shares.values()]
    for die in dice(seed, world.name, str(world.seed), *sorted(shares)):
        example = tasks[die.weighed(weights)](world, die)
        if split_of(example.prompt) == split:
            yield example


def examples(
    world: World,
    count: int,
    *,
    seed: int,
    split: Split = "train",
    kinds: Sequence[str] | Mapping[str, float] = tuple(TASKS),
) -> list[Example]:
    """The first `count` examples of a stream; a longer list begins with a shorter one."""
    return list(islice(stream(world, seed=seed, split=split, kinds=kinds), count))
