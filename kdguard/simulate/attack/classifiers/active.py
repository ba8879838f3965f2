"""Active learning with the victim as labeller: buy the rows that the student so far would learn most from.

References:
    Pal et al. (2020), ActiveThief: model extraction using active learning and unannotated public data, AAAI
    34(01):865-872 (uncertainty, k-centre and DeepFool-based choice, in rounds).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch

from kdguard.errors import AttackError
from kdguard.simulate.attack.classifiers.knockoff import Loot
from kdguard.simulate.attack.classifiers.oracle import Floats, Oracle
from kdguard.simulate.attack.classifiers.student import Student, Training, fit
from kdguard.simulate.attack.selection.boundary_distance import boundary_distance
from kdguard.simulate.attack.selection.disagreement import jensen_shannon
from kdguard.simulate.attack.selection.k_centre import k_centre
from kdguard.simulate.attack.selection.uncertainty import Ints, entropy, largest

Choose = Callable[[tuple[Student, ...], Floats, Floats, int], Ints]
"""From the students, the rows bought, the rows still to be had and a count to places among the latter."""


def active(
    oracle: Oracle, pool: Floats, training: Training, seed: int, choose: str, *, rounds: int = 5
) -> Loot:
    """Spend the budget in equal rounds: the first at random, each later one by what the students learnt.

    Args:
        oracle: The victim.
        pool: Rows to buy, shape (n, d); none is bought twice.
        training: How students are trained, anew in each round.
        seed: Of everything drawn.
        choose: A name in `CHOICES`.
        rounds: Rounds at most.

    Raises:
        AttackError: No such choice, or a budget below one row a round.
    """
    if choose not in CHOICES or oracle.left < rounds:
        raise AttackError(
            f"'active' needs one of {', '.join(CHOICES)} and a budget of at least {rounds} rows, "
            f"got '{choose}' and {oracle.left}"
        )
    rng = np.random.default_rng(seed)
    free = rng.permutation(len(pool))
    parts = np.array_split(np.arange(min(oracle.left, len(pool))), rounds)
    places, free = free[: len(parts[0])], free[len(parts[0]) :]
    answers = oracle.answer(pool[places])
    for part in parts[1:]:
        students = tuple(fit(pool[places], answers, training, seed + i) for i in range(_STUDENTS[choose]))
        best = CHOICES[choose](students, pool[places], pool[free], len(part))
        answers = np.concatenate([answers, oracle.answer(pool[free[best]])])
        places, free = np.concatenate([places, free[best]]), np.delete(free, best)
    return Loot(pool[places], answers, fit(pool[places], answers, training, seed))


def _entropy(students: tuple[Student, ...], bought: Floats, rows: Floats, count: int) -> Ints:
    return largest(entropy(students[0].probabilities(rows)), count)


def _k_centre(students: tuple[Student, ...], bought: Floats, rows: Floats, count: int) -> Ints:
    """Farthest from all that was bought, in the space of the student's probabilities."""
    seen, candidates = (students[0].probabilities(one) for one in (bought, rows))
    return k_centre(candidates, count, chosen=seen)


def _boundary(students: tuple[Student, ...], bought: Floats, rows: Floats, count: int) -> Ints:
    distance = boundary_distance(students[0].logits, torch.from_numpy(rows.astype(np.float32)))
    return largest(-distance.double().numpy(), count)


def _disagreement(students: tuple[Student, ...], bought: Floats, rows: Floats, count: int) -> Ints:
    one, other = (student.probabilities(rows) for student in students)
    return largest(jensen_shannon(one, other), count)


CHOICES: Mapping[str, Choose] = {
    "entropy": _entropy,
    "k_centre": _k_centre,
    "boundary": _boundary,
    "disagreement": _disagreement,
}
_STUDENTS = dict.fromkeys(CHOICES, 1) | {"disagreement": 2}
