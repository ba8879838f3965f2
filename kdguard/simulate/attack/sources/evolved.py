"""Instructions that grow: evolved by rules, or written by the teacher after examples, as in Self-Instruct.

References:
    Xu et al. (2023), WizardLM, arXiv 2304.12244 (in-depth and in-breadth evolving); Wang et al. (2022), Self-Instruct,
    arXiv 2212.10560 (new tasks after examples; kept where ROUGE-L to every kept one is below 0.7).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdguard.simulate.attack.sources.source import PromptSource, check_count

_WORD = re.compile(r"\w+")
_DEPTH = (
    "{task} Do not use more than {number} sentences.",
    "{task} Also say what would change if the numbers were doubled.",
    "{task} Give {number} steps and the reason for each.",
    "{task} Name one case in which your answer is wrong.",
    "{task} Assume that the reader is {number} years into the subject.",
    "{task} Compare two ways to do it and choose one.",
    "First restate the task in your own words, then solve it. {task}",
    "{task} Write the answer so that a program can read it.",
)
_BREADTH = (
    "Think of a rarer task of the same kind as this one and solve it: {task}",
    "Here is a task from one field: {task} Carry it over to another field and answer that.",
    "Write {number} harder variants of this task and answer the last: {task}",
)


@dataclass(frozen=True)
class Evolved:
    """Tasks of another source after some rounds of evolving.

    Attributes:
        of: Where the first tasks come from.
        rounds: Most evolving steps of a task.
        breadth: Share of the steps that move to another task rather than deepen it.
    """

    of: PromptSource
    rounds: int = 3
    breadth: float = 0.25

    def draw(self, n: int, rng: np.random.Generator) -> list[str]:
        """Write `n` prompts, each after 1 to `rounds` steps."""
        found = []
        for task in self.of.draw(check_count(n), rng):
            for _ in range(int(rng.integers(1, self.rounds + 1))):
                task = evolve(task, rng, self.breadth)
            found.append(task)
        return found


def evolve(task: str, rng: np.random.Generator, breadth: float = 0.25) -> str:
    """One step of evolving."""
    options = _BREADTH if rng.random() < breadth else _DEPTH
    return options[int(rng.integers(len(options)))].format(task=task, number=int(rng.integers(2, 9)))


def meta_prompt(pool: Sequence[str], rng: np.random.Generator, examples: int = 4) -> str:
    """A prompt that asks a model for one more task like some of a pool."""
    shown = rng.permutation(len(pool))[:examples].tolist()
    lines = [f"Task {i + 1}: {pool[place]}" for i, place in enumerate(shown)]
    return "\n".join(["Come up with one more task.", *lines, f"Task {len(lines) + 1}:"])


def novel(texts: Sequence[str], pool: Sequence[str], likeness: float = 0.7) -> list[str]:
    """Tasks among `texts` that are like none of the pool and none before, by ROUGE-L."""
    known, found = list(pool), list[str]()
    for text in texts:
        task = text.strip()
        if task and all(rouge_l(task, old) < likeness for old in known):
            known.append(task)
            found.append(task)
    return found


def rouge_l(one: str, other: str) -> float:
    """F-measure of the longest common subsequence of words, in [0, 1].

    References:
        Lin (2004), ROUGE; bit-parallel subsequence: Hyyro (2004), AWOCA.
    """
    a, b = _WORD.findall(one.lower()), _WORD.findall(other.lower())
    if not a or not b:
        return float(a == b)
    places: dict[str, int] = {}
    for i, word in enumerate(a):
        places[word] = places.get(word, 0) | 1 << i
    state = full = (1 << len(a)) - 1
    for word in b:
        match = state & places.get(word, 0)
        state = (state + match | state - match) & full
    return 2 * (len(a) - state.bit_count()) / (len(a) + len(b))
