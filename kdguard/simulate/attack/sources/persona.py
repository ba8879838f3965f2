"""Synthetic personas: an ordinary task, asked by an invented person with a reason.

References:
    Ge et al. (2024), Scaling synthetic data creation with 1,000,000,000 personas, arXiv 2406.20094.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdguard.simulate.attack.sources.source import PromptSource, check_count

_PEOPLE = (
    "a retired ferry captain", "a first-year midwifery student", "the treasurer of a rowing club", "a beekeeper",
    "a night-shift nurse", "the owner of two bakeries", "a structural engineer", "a court interpreter",
    "a primary school teacher", "a wheat farmer", "an amateur astronomer", "a bus driver learning to code",
    "a museum guide", "a tax clerk", "a climbing coach", "a violin maker", "a hospital pharmacist",
    "a landscape gardener", "a data analyst at a port", "a crossword setter",
)  # fmt: skip
_TRAITS = (
    "short of time", "new to the subject", "sceptical of long answers", "fond of examples",
    "used to checking every step", "writing for a local newsletter", "preparing a talk", "helping a grandchild",
    "working from a small phone", "used to metric units", "tired of jargon", "keen to see the reasoning",
)  # fmt: skip
_FRAMES = (
    "I am {person}, {trait}. {task}",
    "You are talking to {person} who is {trait}. {task}",
    "Answer as you would for {person}, {trait}: {task}",
    "{task}\n\nFor context: I am {person} and {trait}.",
    "Imagine {person}, {trait}. This is what they ask: {task}",
)


@dataclass(frozen=True)
class Personas:
    """Tasks of another source in the mouths of invented people.

    Attributes:
        of: Where the tasks come from.
    """

    of: PromptSource

    def draw(self, n: int, rng: np.random.Generator) -> list[str]:
        """Write `n` prompts."""
        tasks = self.of.draw(check_count(n), rng)
        return [
            _one(_FRAMES, rng).format(person=_one(_PEOPLE, rng), trait=_one(_TRAITS, rng), task=task)
            for task in tasks
        ]


def _one(options: Sequence[str], rng: np.random.Generator) -> str:
    return options[int(rng.integers(len(options)))]
