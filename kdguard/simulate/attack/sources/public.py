"""Public instructions: real ones from a data folder, otherwise what the project's own grammars write."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from kdguard.simulate.attack.sources.source import check_count
from kdguard.simulate.pools import Pools


@dataclass(frozen=True)
class PublicInstructions:
    """Evenly from several kinds of public prompts.

    Attributes:
        pools: Texts of a split, with or without a data folder.
        kinds: Kinds of `kdguard.simulate.pools.KINDS`.
        language: ISO 639-1 code; kinds that a language lacks are English.
    """

    pools: Pools = field(default_factory=Pools)
    kinds: tuple[str, ...] = ("instruct", "chat", "question", "math", "code")
    language: str = "en"

    def draw(self, n: int, rng: np.random.Generator) -> list[str]:
        """Write `n` prompts."""
        counts = rng.multinomial(check_count(n), np.full(len(self.kinds), 1 / len(self.kinds))).tolist()
        drawn = [
            text
            for kind, count in zip(self.kinds, counts, strict=True)
            for text in self.pools.draw(kind, count, rng, self.language)
        ]
        return [drawn[place] for place in rng.permutation(n).tolist()]
