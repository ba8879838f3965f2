"""Which listed family a suspect is most like, if any: a description beside the verdicts, never a claim.

Every suspect is more like some listed family than like the others, also one whose teacher is not listed. So the line is
printed with how often it names a family wrongly when the true vendor is hidden, and it moves no verdict.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from kdguard.lineage.families import Families

Floats = npt.NDArray[np.float64]

LEAST_SCORE = 2.0
LEAST_GAP = 1.0
"""Root mean squares above the controls, and above the best competitor; fixed before they were measured here."""
NAMED_WRONGLY = 0.22
"""Share of suspects called consistent with some family when their true vendor's were hidden, see README.md."""


def consistent(scores: Floats, families: Families) -> npt.NDArray[np.bool_]:
    """Whether suspects stand out for a family, and for no competing one nearly as much, shape (S, K).

    Families of the same vendor do not compete, nor do those documented to have learnt from it: they are alike for a
    known reason.

    Args:
        scores: Score of each suspect for each family, shape (S, K); NaN = not tested.
        families: The families.
    """
    competes = families.competitors
    best = np.full_like(scores, -np.inf)
    for family in range(len(families)):
        rivals = scores[:, competes[family]]
        best[:, family] = np.fmax.reduce(rivals, axis=1, initial=-np.inf)
    with np.errstate(invalid="ignore"):
        return (scores >= LEAST_SCORE) & (scores - best >= LEAST_GAP)
