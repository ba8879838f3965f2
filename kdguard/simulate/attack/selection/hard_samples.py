"""Steps of the adversarial loop of Lion: imitate the teacher, find what the student fails at, write more of that.

References:
    Jiang et al. (2023), Lion: adversarial distillation of proprietary large language models, arXiv 2305.12870.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.selection.uncertainty import Floats, Ints


@dataclass(frozen=True)
class Split:
    """Prompts parted by how far the student falls behind.

    Attributes:
        hard: Places where the teacher's score exceeds the student's by the threshold or more.
        easy: All other places.
    """

    hard: Ints
    easy: Ints


def discriminate(teacher: Floats, student: Floats, threshold: float) -> Split:
    """Part prompts into hard and easy by the gap between two referee scores.

    Args:
        teacher: Score of the teacher's answers, shape (n,), any scale.
        student: Score of the student's answers on the same scale, shape (n,).
        threshold: Smallest gap that counts as hard, in units of the scale.
    """
    if teacher.shape != student.shape:
        raise AttackError(f"both need one score a prompt, got {teacher.shape} and {student.shape}")
    gap = teacher - student
    return Split(np.flatnonzero(gap >= threshold), np.flatnonzero(gap < threshold))


def next_prompts(hard: Sequence[str], easy: Sequence[str], count: int, ratio: float) -> list[str]:
    """Seeds of the next round: a share `ratio` of hard ones, repeated where there are few, the rest easy."""
    if not hard and not easy:
        raise AttackError("there are no prompts to go on from")
    wanted = count if not easy else 0 if not hard else round(count * ratio)
    from_hard = [hard[i % len(hard)] for i in range(wanted)]
    return from_hard + [easy[i % len(easy)] for i in range(count - wanted)]
