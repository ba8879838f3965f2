"""The thief's own classifier: one hidden layer, trained on what the victim answered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from kdguard.errors import AttackError
from kdguard.simulate.attack.classifiers.oracle import Floats


@dataclass(frozen=True, slots=True)
class Training:
    """How a student is trained.

    Attributes:
        hidden: Width of the hidden layer.
        epochs: Passes over what was bought.
        batch: Rows a step.
        learning_rate: Of Adam.
    """

    hidden: int = 64
    epochs: int = 40
    batch: int = 32
    learning_rate: float = 0.01


@dataclass(frozen=True, eq=False)
class Student:
    """A trained classifier of d features."""

    module: nn.Sequential

    def logits(self, inputs: Tensor) -> Tensor:
        """Shape (n, d) to (n, c); differentiable."""
        found: Tensor = self.module(inputs)
        return found

    def probabilities(self, inputs: Floats) -> Floats:
        """Shape (n, d) to (n, c)."""
        with torch.no_grad():
            found = self.logits(_tensor(inputs)).double().softmax(dim=1)
        return np.asarray(found.numpy(), np.float64)


def untrained(features: int, classes: int, training: Training, seed: int) -> Student:
    """A student with weights that depend on the seed only."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = nn.Linear(features, training.hidden), nn.ReLU(), nn.Linear(training.hidden, classes)
    return Student(nn.Sequential(*layers))


def fit(inputs: Floats, targets: Floats, training: Training, seed: int) -> Student:
    """Train a new student by cross-entropy to the answers, soft or one-hot.

    Args:
        inputs: Shape (n, d), n >= 1.
        targets: Distributions, shape (n, c).
        training: How.
        seed: Of the weights and of the order of rows.
    """
    if len(inputs) == 0 or len(inputs) != len(targets):
        raise AttackError(f"need one answer a row and at least one, got {len(inputs)} and {len(targets)}")
    student = untrained(inputs.shape[1], targets.shape[1], training, seed)
    optimiser = torch.optim.Adam(student.module.parameters(), lr=training.learning_rate)
    x, y = _tensor(inputs), _tensor(targets)
    order = torch.Generator().manual_seed(seed)
    for _ in range(training.epochs):
        for rows in torch.split(torch.randperm(len(x), generator=order), training.batch):
            step(student, optimiser, x[rows], y[rows])
    return student


def step(student: Student, optimiser: torch.optim.Optimizer, inputs: Tensor, targets: Tensor) -> None:
    """One step of gradient descent."""
    optimiser.zero_grad()
    torch.autograd.backward(nn.functional.cross_entropy(student.logits(inputs), targets))
    optimiser.step()


def _tensor(values: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))
