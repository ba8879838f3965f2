"""T12: wash out marks. Answers are reworded before training, and part of the questions goes to another teacher."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.tactics.transform import chosen, mark
from kdguard.simulate.attack.tactics.wording import other_words

_SPACE = re.compile(r"[ \t]+")
_ODD = re.compile(r"[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")


@dataclass(frozen=True)
class Cleaning:
    """Mark requests whose answers are cleaned, and send some of these to a second teacher.

    Attributes:
        strength: Share of the attack requests whose answers are cleaned.
        second_teacher: Model that gets part of these; None = there is one teacher only.
        mixed: Share of these that the second teacher gets.
    """

    strength: float
    second_teacher: str | None = None
    mixed: float = 0.3
    tactic: ClassVar[int] = 12

    def __post_init__(self) -> None:
        if not 0 <= self.mixed <= 1:
            raise AttackError(f"T12 needs mixed from 0 to 1, got {self.mixed}")

    def act(self, plan: Plan, rng: np.random.Generator) -> Plan:
        """The same requests, some marked for cleaning and some to another model."""
        places = chosen(plan, self.strength, rng)
        other = places & (rng.random(len(plan)) < self.mixed)
        second = self.second_teacher
        model = [
            second if hit and second is not None else old
            for hit, old in zip(other.tolist(), plan.calls.model, strict=True)
        ]
        plan = replace(plan, clean=plan.clean | places, calls=replace(plan.calls, model=model))
        return mark(plan, places, self.tactic)


def clean_answer(text: str, rng: np.random.Generator) -> str:
    """An answer without invisible characters, with plain spaces and some words replaced by rule.

    The result is no longer what the teacher's tokens spell: train on it as text only.
    """
    return other_words(_SPACE.sub(" ", _ODD.sub("", text)).strip(), rng)
