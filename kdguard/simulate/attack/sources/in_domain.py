"""The tasks that a teacher is good at, as its own customers send them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.sources.source import check_count


@dataclass(frozen=True)
class InDomain:
    """Prompts of the task itself; none comes twice before all have come once.

    Attributes:
        prompts: All there are.
    """

    prompts: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.prompts:
            raise AttackError("an in-domain source needs at least one prompt")

    def draw(self, n: int, rng: np.random.Generator) -> list[str]:
        """Write `n` prompts."""
        rounds = -(-check_count(n) // len(self.prompts))
        order = [place for _ in range(rounds) for place in rng.permutation(len(self.prompts)).tolist()]
        return [self.prompts[place] for place in order[:n]]
