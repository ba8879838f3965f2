"""How many of several events of unlike chances happen."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def upper_tail(chances: npt.ArrayLike, count: int) -> float:
    """Chance that at least `count` of independent events happen.

    Args:
        chances: Of each event, shape (n,).
        count: Events.
    """
    mass = np.ones(1)
    for chance in np.asarray(chances, np.float64):
        mass = np.convolve(mass, [1 - chance, chance])
    return float(min(mass[max(count, 0) :].sum(), 1.0))
