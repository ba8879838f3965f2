"""What an attack gets for its money: agreement with the victim, at each budget and seed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.classifiers.active import CHOICES, active
from kdguard.simulate.attack.classifiers.digits import CLASSES, Digits
from kdguard.simulate.attack.classifiers.jacobian import jacobian_augmentation
from kdguard.simulate.attack.classifiers.knockoff import Loot, adaptive_knockoff, random_knockoff
from kdguard.simulate.attack.classifiers.label_only import label_only
from kdguard.simulate.attack.classifiers.oracle import Floats, Oracle
from kdguard.simulate.attack.classifiers.student import Training

Attack = Callable[[Oracle, Digits, Training, int], Loot]


@dataclass(frozen=True, slots=True)
class Point:
    """One run of one attack.

    Attributes:
        attack: Its name.
        budget: Rows it might ask.
        asked: Rows it did ask.
        seed: Of the attack.
        agreement: Share of unseen rows with the victim's label.
        accuracy: Share of unseen rows with the true label.
    """

    attack: str
    budget: int
    asked: int
    seed: int
    agreement: float
    accuracy: float


def _jacobian(oracle: Oracle, data: Digits, training: Training, seed: int) -> Loot:
    count = max(CLASSES, min(len(data.pool), oracle.left // 4))
    if count > oracle.left:
        raise AttackError(f"'jacobian' needs a budget of at least {count} rows, got {oracle.left}")
    places = np.random.default_rng(seed).permutation(len(data.pool))[:count]
    return jacobian_augmentation(oracle, data.pool[places], training, seed)


def _active(choose: str) -> Attack:
    return lambda oracle, data, training, seed: active(oracle, data.pool, training, seed, choose)


ATTACKS: Mapping[str, Attack] = {
    "knockoff_random": lambda oracle, data, training, seed: random_knockoff(
        oracle, data.pool, training, seed
    ),
    "knockoff_adaptive": lambda oracle, data, training, seed: adaptive_knockoff(
        oracle, data.pool, data.pool_labels, training, seed
    ),
    "jacobian": _jacobian,
    "label_only": lambda oracle, data, training, seed: label_only(oracle, data.pool, training, seed),
    **{f"active_{name}": _active(name) for name in CHOICES},
}
"""Attacks on the digits by name; `label_only` and any of them on an oracle that shows labels alone."""


def budget_curve(
    attack: str,
    data: Digits,
    victim: Callable[[Floats], Floats],
    budgets: Sequence[int],
    *,
    seeds: Sequence[int] = (0,),
    label_only: bool = False,
    training: Training | None = None,
) -> tuple[Point, ...]:
    """Run an attack at each budget with each seed; one new oracle a run."""
    if attack not in ATTACKS:
        raise AttackError(f"no attack '{attack}'; known are: {', '.join(ATTACKS)}")
    points = []
    for budget in budgets:
        for seed in seeds:
            oracle = Oracle(victim, classes=CLASSES, budget=budget, label_only=label_only)
            loot = ATTACKS[attack](oracle, data, training or Training(), seed)
            points.append(judge(attack, loot, data, victim, oracle, seed))
    return tuple(points)


def judge(
    attack: str, loot: Loot, data: Digits, victim: Callable[[Floats], Floats], oracle: Oracle, seed: int
) -> Point:
    """Agreement and accuracy of what was stolen, on rows that neither side has seen."""
    stolen = loot.student.probabilities(data.test_inputs).argmax(axis=1)
    agreement = float((stolen == victim(data.test_inputs).argmax(axis=1)).mean())
    accuracy = float((stolen == data.test_labels).mean())
    return Point(attack, oracle.budget, oracle.asked, seed, agreement, accuracy)
