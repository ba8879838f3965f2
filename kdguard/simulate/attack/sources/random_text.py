"""Text that means nothing to anybody, or has nothing to do with the task.

References:
    Krishna et al. (2020), Thieves on Sesame Street, ICLR, arXiv 1910.12366: the RANDOM and WIKI query schemes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.sources.source import check_count
from kdguard.simulate.pools import Pools

_SENTENCE = re.compile(r"(?<=[.!?])\s+")


@dataclass(frozen=True)
class RandomWords:
    """Words drawn one by one, evenly, from the commonest of a corpus.

    Attributes:
        pools: Whose documents give the words.
        vocabulary: Most different words.
        shortest: Fewest words of a prompt.
        longest: Most words of a prompt.
    """

    pools: Pools = field(default_factory=Pools)
    vocabulary: int = 10_000
    shortest: int = 5
    longest: int = 20

    def __post_init__(self) -> None:
        if not 1 <= self.shortest <= self.longest or self.vocabulary < 1:
            raise AttackError(f"need 1 <= shortest <= longest, got {self.shortest} and {self.longest}")

    def draw(self, n: int, rng: np.random.Generator) -> list[str]:
        """Write `n` prompts."""
        lengths = rng.integers(self.shortest, self.longest + 1, size=check_count(n))
        words = commonest(self.pools.pool("document").texts, self.vocabulary)
        drawn = iter(rng.integers(len(words), size=int(lengths.sum())).tolist())
        return [" ".join(words[next(drawn)] for _ in range(length)) for length in lengths.tolist()]


@dataclass(frozen=True)
class Excerpts:
    """Runs of whole sentences from an encyclopedia-like corpus, as they stand.

    Attributes:
        pools: Whose documents are cut.
        sentences: Most sentences of a prompt.
    """

    pools: Pools = field(default_factory=Pools)
    sentences: int = 3

    def draw(self, n: int, rng: np.random.Generator) -> list[str]:
        """Write `n` prompts."""
        return [self._cut(text, rng) for text in self.pools.draw("document", check_count(n), rng)]

    def _cut(self, text: str, rng: np.random.Generator) -> str:
        found = _SENTENCE.split(text.strip())
        count = min(len(found), int(rng.integers(1, self.sentences + 1)))
        first = int(rng.integers(len(found) - count + 1))
        return " ".join(found[first : first + count])


def commonest(texts: Sequence[str], limit: int) -> list[str]:
    """The commonest words of some texts, commonest first; equally common ones in the order of the alphabet."""
    words, counts = np.unique(" ".join(texts[:4_000]).lower().split(), return_counts=True)
    return words[np.argsort(-counts, kind="stable")[:limit]].tolist()
