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

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SHRINKAGE = 3.0
"""Ridge, in units of the mean variance of a model."""
_LIKELIHOOD_SHRINKAGE = 30.0
"""A hundred controls show few of the directions in which likelihoods differ. Fixed on the shipped models."""


@dataclass(frozen=True, eq=False)
class Affinities:
    """One kind of affinity at p items.

    Attributes:
        models: Of n models, the suspect last, shape (p, n); no NaN.
        teacher: Of the family's own members, their mean, shape (p,).
        foils: Of k members of other vendors' families, shape (p, k).
    """

    models: Floats
    teacher: Floats
    foils: Floats


@dataclass(frozen=True, slots=True)
class Score:
    """What is ranked.

    Attributes:
        of: From the affinities to a family, and those less the affinities to others, to a score a model; shape (n,).
            It treats all models alike.
        uses_foils: It has learnt from the other families' members, so that no suspect may be ranked among them.
        claims_far_alone: Its rank is low too often for models of no such family; only what stands far above the
            controls is claimed, see `kinship.STANDS_FAR`.
    """

    of: Callable[[Affinities, Affinities], Floats]
    uses_foils: bool = False
    claims_far_alone: bool = False


def lean(
    readings: Floats, teacher: Floats, shrinkage: float = SHRINKAGE, foils: Floats | None = None
) -> Floats:
    """Lean of each of n models towards the teacher.

    Args:
        readings: Any numbers read from models, items by models, shape (p, n); no NaN.
        teacher: The same numbers of the teacher, shape (p,).
        shrinkage: Larger trusts the directions seen among so few models less.
        foils: The same numbers of models that the lean shall not be towards, shape (p, k): what lies in their
            direction is left out.

    Returns:
        Shape (n,), larger = more like the teacher.
    """
    if len(readings) == 0:
        return np.zeros(readings.shape[1])
    mean = readings.mean(axis=1, keepdims=True)
    spread = readings.std(axis=1, keepdims=True)
    spread = np.where(spread > 0, spread, np.inf)  # where all models agree nothing is told
    seen, wanted = (readings - mean) / spread, (teacher - mean[:, 0]) / spread[:, 0]
    if foils is not None and foils.shape[1]:
        basis = np.linalg.qr((foils - mean) / spread)[0]
        seen, wanted = seen - basis @ (basis.T @ seen), wanted - basis @ (basis.T @ wanted)
    among = seen.T @ seen / seen.shape[1]  # (n, n)
    ridge = shrinkage * np.trace(among) / len(among)
    if ridge <= 0:
        return np.zeros(readings.shape[1])
    inner = np.linalg.solve(among + ridge * np.eye(len(among)), seen.T @ wanted / seen.shape[1])
    found: Floats = seen.T @ (wanted - seen @ inner) / ridge
    return found


def _lean_of_both(own: Affinities, against: Affinities) -> Floats:
    """The larger of two leans, each on a scale of its own: to a family, and to it rather than to others.

    The first sees small doses and merged models, the second what was done to a model's weights.
    """
    leans = [lean(one.models, one.teacher, _LIKELIHOOD_SHRINKAGE) for one in (own, against)]
    return np.maximum(*map(_scaled, leans))


def _lean_apart(own: Affinities, against: Affinities) -> Floats:
    """Lean to a family rather than to others, apart from what other families' members lean to as well.

    Long training alone brings a model nearer to whatever was trained long; the foils show that direction.
    """
    del own
    return lean(against.models, against.teacher, foils=against.foils)


def _mean_difference(own: Affinities, against: Affinities) -> Floats:
    """Mean over the items of the affinity to the family less that to others; for readings of few values."""
    del own
    return np.asarray(against.models.mean(axis=0), np.float64)


LEAN_OF_BOTH: Final = Score(_lean_of_both)
LEAN_APART: Final = Score(_lean_apart, uses_foils=True, claims_far_alone=True)
MEAN_DIFFERENCE: Final = Score(_mean_difference)


def _scaled(values: Floats) -> Floats:
    """In root mean squares about the median."""
    away = values - np.median(values)
    return np.asarray(away / max(float(np.sqrt(np.mean(away**2))), 1e-12), np.float64)
