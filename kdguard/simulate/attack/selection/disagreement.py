"""Candidates on which two students differ most."""

from __future__ import annotations

import numpy as np

from kdguard.errors import AttackError
from kdguard.simulate.attack.selection.uncertainty import Floats


def jensen_shannon(first: Floats, second: Floats) -> Floats:
    """Jensen-Shannon divergence of two students' predictions, in nats.

    Args:
        first: Probabilities of one student, shape (n, c).
        second: Probabilities of the other, shape (n, c).

    Returns:
        Shape (n,), from 0 (they agree) to log 2.

    References:
        Lin (1991), IEEE Trans. Inf. Theory 37:145-151; query by committee: McCallum and Nigam (1998), ICML.
    """
    one, two = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if one.shape != two.shape or one.ndim != 2:
        raise AttackError(f"both students must give shape (n, c), got {one.shape} and {two.shape}")
    middle = (one + two) / 2
    return np.clip((_relative(one, middle) + _relative(two, middle)) / 2, 0, np.log(2))


def _relative(one: Floats, other: Floats) -> Floats:
    ratio = np.divide(one, other, out=np.ones_like(one), where=one > 0)
    return np.sum(one * np.log(ratio), axis=1)
