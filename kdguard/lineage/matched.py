"""A matched filter: how far a model leans towards a teacher, in the directions in which controls hardly lean at all.

Models differ in size, base and skill, and so in how much they agree with anybody. The controls show these directions.
The lean towards the teacher is taken after they are played down, as a radio takes a known signal out of known noise.
Suspect and controls are treated alike, suspect included in what is learnt from them, so its rank among them is exact
whatever the filter is worth.

References:
    North (1943), reprinted in Proc. IEEE 51:1016-1027 (1963), for the filter; Vovk, Gammerman and Shafer (2005),
    section 2.2, for ranks of a score that treats all alike.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHRINKAGE = 3.0
"""Ridge, in units of the mean variance of a model. Fixed on fixtures; from .3 to 30 little changes."""


def lean(readings: Floats, teacher: Floats, shrinkage: float = SHRINKAGE) -> Floats:
    """Lean of each of n models towards the teacher.

    Args:
        readings: Any numbers read from models, items by models, shape (p, n); no NaN.
        teacher: The same numbers of the teacher, shape (p,).
        shrinkage: Larger trusts the directions seen among so few models less.

    Returns:
        Shape (n,), larger = more like the teacher.
    """
    if len(readings) == 0:
        return np.zeros(readings.shape[1])
    mean = readings.mean(axis=1, keepdims=True)
    spread = readings.std(axis=1, keepdims=True)
    spread = np.where(spread > 0, spread, np.inf)  # where all models agree nothing is told
    seen, wanted = (readings - mean) / spread, (teacher - mean[:, 0]) / spread[:, 0]
    among = seen.T @ seen / seen.shape[1]  # (n, n)
    ridge = shrinkage * np.trace(among) / len(among)
    if ridge <= 0:
        return np.zeros(readings.shape[1])
    inner = np.linalg.solve(among + ridge * np.eye(len(among)), seen.T @ wanted / seen.shape[1])
    found: Floats = seen.T @ (wanted - seen @ inner) / ridge
    return found


def lean_of_both(own: Floats, own_teacher: Floats, against: Floats, against_teacher: Floats) -> Floats:
    """The larger of two leans, each on a scale of its own: to a family, and to it rather than to others.

    The first sees small doses and merged models, the second what was done to a model's weights.

    Args:
        own: Affinity to the family, shape (p, n).
        own_teacher: The teacher's own, shape (p,).
        against: Affinity to the family less that to other vendors' families, shape (p, n).
        against_teacher: The teacher's own, shape (p,).
    """
    return np.maximum(_scaled(lean(own, own_teacher)), _scaled(lean(against, against_teacher)))


def lean_evenly(own: Floats, own_teacher: Floats, against: Floats, against_teacher: Floats) -> Floats:
    """The same towards every item alike: for readings whose pattern no student follows."""
    return np.maximum(_scaled(lean(own, _raised(own))), _scaled(lean(against, _raised(against))))


def mean_difference(own: Floats, own_teacher: Floats, against: Floats, against_teacher: Floats) -> Floats:
    """Mean over the items of the affinity to the family less that to others; for readings of few values."""
    return np.asarray(against.mean(axis=0), np.float64)


def _raised(readings: Floats) -> Floats:
    return np.asarray(readings.mean(axis=1) + readings.std(axis=1), np.float64)


def _scaled(values: Floats) -> Floats:
    """In root mean squares about the median."""
    away = values - np.median(values)
    return np.asarray(away / max(float(np.sqrt(np.mean(away**2))), 1e-12), np.float64)
