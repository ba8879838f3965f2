"""Is a suspect a model of the same kind as its controls? Where it is not, its rank among them says little.

A rank holds if suspect and controls are exchangeable but for the lineage in question. Whether they are can be looked at
in what does not concern that lineage: what was read for the other families. A suspect that is further from its nearest
neighbours there than any control from its own began elsewhere, or was pruned, or was trained for much longer.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Evidence, Guarantee
from kdguard.lineage.scored import About, Place, evidence_of, place_of
from kdguard.lineage.verdict import Lineage, LineageVerdict

Floats = npt.NDArray[np.float64]

KINSHIP: Final = About(
    name="lineage.kinship", version="1", summary="unlike the controls in what does not concern"
)
STANDS_FAR = 4.0
"""Score from which on even a suspect of another kind is claimed. Fixed on the shipped models: weights of an unlisted
teacher reach 3, the teacher's own 6 to 8."""
_NEIGHBOURS = 5


def kinship(elsewhere: Floats) -> Place:
    """Rank how far the last model is from its nearest neighbours among how far the others are from theirs.

    Args:
        elsewhere: Anything read from n models that does not concern the family tested, shape (q, n); no NaN.
    """
    spread = elsewhere.std(axis=1, keepdims=True)
    scaled = (elsewhere - elsewhere.mean(axis=1, keepdims=True)) / np.where(spread > 0, spread, np.inf)
    length = (scaled**2).sum(axis=0)
    squared = length[:, None] + length[None, :] - 2 * scaled.T @ scaled
    np.fill_diagonal(squared, np.inf)
    nearest = np.sort(squared, axis=1)[:, : min(_NEIGHBOURS, len(squared) - 1)]
    return place_of(nearest.mean(axis=1))


def kinship_evidence(place: Place, suspect: str, family: str, queries: int) -> Evidence:
    """The rank as evidence beside a verdict; it tells of the controls, never of lineage."""
    return replace(evidence_of(place, KINSHIP, suspect, family, queries), guarantee=Guarantee.DESCRIPTIVE)


def where_controls_fit(verdict: LineageVerdict, place: Place, alpha: float) -> LineageVerdict:
    """The same verdict, but no claim on a suspect that is unlike its controls and does not stand far above them."""
    if place.p_value > alpha or verdict.verdict is not Lineage.SUPPORTED or _is_far(verdict):
        return verdict
    return replace(
        verdict,
        verdict=Lineage.INCONCLUSIVE,
        reason=(
            f"the suspect stands out, but also where it does not concern {verdict.teacher_family}: no control is so "
            f"unlike the others (rank {place.p_value:.3g}). It may have begun elsewhere, been pruned, or trained for "
            "longer: give controls of its kind, or compare weights"
        ),
    )


def where_it_stands_far(verdict: LineageVerdict) -> LineageVerdict:
    """The same verdict, but no claim on a suspect that is only first among its controls, not far above them.

    For readings in which models of other families come first more often than alpha says.
    """
    if verdict.verdict is not Lineage.SUPPORTED or _is_far(verdict):
        return verdict
    return replace(
        verdict,
        verdict=Lineage.INCONCLUSIVE,
        reason=(
            f"the suspect stands {verdict.score:.1f} above the controls, and this reading claims from {STANDS_FAR:g}: "
            "below, students of other teachers were first as well; ask for the likelihood of the teacher's answers"
        ),
    )


def _is_far(verdict: LineageVerdict) -> bool:
    return verdict.score is not None and verdict.score >= STANDS_FAR
