"""What a prompt source is: a frozen value that writes n prompts from a random stream."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from kdguard.errors import AttackError


class PromptSource(Protocol):
    """A supply of prompts. The same stream gives the same prompts; a source never asks a teacher."""

    def draw(self, n: int, rng: np.random.Generator) -> list[str]:
        """Write `n` prompts; repeats are allowed where the supply is short."""
        ...


def check_count(n: int) -> int:
    """Return the count, or say that it must not be negative."""
    if n < 0:
        raise AttackError(f"a source writes 0 prompts or more, got {n}")
    return n
