"""A victim classifier as a thief sees it: rows in, labels or probabilities out, every row paid for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from kdguard.errors import AttackError

Floats = npt.NDArray[np.float64]


class Oracle:
    """Asks a victim and counts.

    The count is the one thing here that changes: a budget is a fact of the world outside, like a clock.
    """

    def __init__(
        self, predict: Callable[[Floats], Floats], *, classes: int, budget: int, label_only: bool = False
    ) -> None:
        """Put a price on a victim.

        Args:
            predict: Shape (n, d) to probabilities (n, classes).
            classes: Number of classes.
            budget: Rows that may be asked in all.
            label_only: Answer with the label alone, as a one-hot row.
        """
        if budget < 1 or classes < 2:
            raise AttackError(f"budget must be >= 1 and classes >= 2, got {budget} and {classes}")
        self._predict, self.classes, self.budget, self.label_only = predict, classes, budget, label_only
        self.asked = 0

    @property
    def left(self) -> int:
        """Rows that may still be asked."""
        return self.budget - self.asked

    def answer(self, inputs: Floats) -> Floats:
        """Ask n rows of d features.

        Returns:
            Shape (n, classes): probabilities, or one-hot labels where the victim shows only these.

        Raises:
            AttackError: More rows than the budget has left; nothing is asked then.
        """
        if len(inputs) > self.left:
            raise AttackError(
                f"the budget of {self.budget} rows has {self.left} left, {len(inputs)} were asked"
            )
        if len(inputs) == 0:
            return np.empty((0, self.classes))
        self.asked += len(inputs)
        found = np.asarray(self._predict(inputs), np.float64)
        if found.shape != (len(inputs), self.classes):
            raise AttackError(
                f"the victim must answer {(len(inputs), self.classes)}, it answered {found.shape}"
            )
        return np.eye(self.classes)[found.argmax(axis=1)] if self.label_only else found
