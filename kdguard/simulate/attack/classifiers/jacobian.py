"""Jacobian-based augmentation: grow a few real rows along the student's own gradients.

References:
    Papernot et al. (2017), Practical black-box attacks against machine learning, arXiv 1602.02697, algorithm 1,
    with reservoir sampling and the alternating step of section 5.2.
"""

from __future__ import annotations

import numpy as np
import torch

from kdguard.errors import AttackError
from kdguard.simulate.attack.classifiers.knockoff import Loot
from kdguard.simulate.attack.classifiers.oracle import Floats, Oracle
from kdguard.simulate.attack.classifiers.student import Student, Training, fit


def jacobian_augmentation(
    oracle: Oracle,
    seeds: Floats,
    training: Training,
    seed: int,
    *,
    step: float = 0.2,
    rounds: int = 6,
    alternate: int = 2,
    limits: tuple[float, float] = (0.0, 1.0),
) -> Loot:
    """Ask some real rows, then in each round one new row for each old one.

    Args:
        oracle: The victim.
        seeds: Real rows to start from, shape (n, d).
        training: How the student is trained, anew in each round.
        seed: Of the student and of which rows are kept where the budget is short.
        step: Length of a move in each feature, in units of the feature.
        rounds: Rounds of augmentation at most; each doubles what is asked.
        alternate: Rounds after which the sign of the step turns.
        limits: Smallest and largest value of a feature.
    """
    if len(seeds) > oracle.left:
        raise AttackError(f"{len(seeds)} seed rows do not fit into a budget of {oracle.left}")
    rng = np.random.default_rng(seed)
    inputs, answers = seeds, oracle.answer(seeds)
    student = fit(inputs, answers, training, seed)
    for number in range(rounds):
        if oracle.left == 0:
            break
        signed = step * (-1.0) ** (number // alternate)
        new = np.clip(inputs + signed * gradient_signs(student, inputs, answers), *limits)
        kept = np.sort(rng.permutation(len(new))[: oracle.left])
        answers = np.concatenate([answers, oracle.answer(new[kept])])
        inputs = np.concatenate([inputs, new[kept]])
        student = fit(inputs, answers, training, seed)
    return Loot(inputs, answers, student)


def gradient_signs(student: Student, inputs: Floats, answers: Floats) -> Floats:
    """Sign of the gradient of the student's probability of the victim's label; shape (n, d), -1, 0 or 1."""
    moved = torch.from_numpy(inputs.astype(np.float32)).requires_grad_(True)
    labels = torch.from_numpy(answers.argmax(axis=1))
    chosen = student.logits(moved).log_softmax(dim=1).gather(1, labels[:, None]).sum()
    (gradient,) = torch.autograd.grad(chosen, moved)
    return np.asarray(gradient.sign().numpy(), np.float64)
