"""The adversarial loop of Lion: imitate the teacher, find what the student fails at, write more of that.

References:
    Jiang et al. (2023), Lion: adversarial distillation of proprietary large language models, arXiv 2305.12870.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.selection.uncertainty import Floats, Ints

Student = TypeVar("Student")


@dataclass(frozen=True)
class Split:
    """Prompts parted by how far the student falls behind.

    Attributes:
        hard: Places where the teacher's score exceeds the student's by the threshold or more.
        easy: All other places.
    """

    hard: Ints
    easy: Ints


@dataclass(frozen=True)
class Round(Generic[Student]):
    """What one turn of the loop left behind.

    Attributes:
        number: From 0.
        prompts: What was asked in this round.
        student: The student after imitation.
        hard: Prompts the student fails at.
    """

    number: int
    prompts: tuple[str, ...]
    student: Student
    hard: tuple[str, ...]


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


def hard_sample_loop(
    prompts: Sequence[str],
    *,
    rounds: int,
    imitate: Callable[[Sequence[str]], Student],
    referee: Callable[[Student, Sequence[str]], tuple[Floats, Floats]],
    generate: Callable[[Sequence[str]], Sequence[str]],
    threshold: float = 0.5,
    ratio: float = 0.5,
) -> Iterator[Round[Student]]:
    """Run the loop, one round at a time, so that the caller stops when the budget is spent.

    Args:
        prompts: What the first round asks.
        rounds: At most this many.
        imitate: Ask the teacher all prompts of a round and train a student on everything so far.
        referee: Scores of the teacher's and of the student's answers to some prompts.
        generate: Write one new prompt like each given one.
        threshold: Smallest score gap that makes a prompt hard.
        ratio: Share of new prompts written after hard ones.
    """
    current = tuple(prompts)
    for number in range(rounds):
        student = imitate(current)
        teacher_scores, student_scores = referee(student, current)
        split = discriminate(teacher_scores, student_scores, threshold)
        hard = tuple(current[place] for place in split.hard.tolist())
        yield Round(number, current, student, hard)
        seeds = next_prompts(hard, [current[place] for place in split.easy.tolist()], len(current), ratio)
        current = tuple(generate(seeds))
