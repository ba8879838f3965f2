"""Verdicts where models are read in numbers instead of texts: one score a model, ranked among controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Evidence, Guarantee
from kdguard.lineage.verdict import Lineage, LineageVerdict, conclude

Floats = npt.NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From numbers read from n models, shape (p, n), to a score each, shape (n,), treating all models alike."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where one suspect stands among its controls.

    Attributes:
        score: In root mean squares above the median of suspect and controls.
        above: Controls at or above it.
        controls: Controls ranked among.
    """

    score: float
    above: int
    controls: int

    @property
    def p_value(self) -> float:
        """Rank of the suspect, from 1 / (controls + 1) to 1."""
        return (1.0 + self.above) / (self.controls + 1.0)

    @property
    def p_floor(self) -> float:
        """Smallest rank the controls can express."""
        return 1.0 / (self.controls + 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """What a place is evidence of.

    Attributes:
        name: Of the test.
        version: Changes with anything that changes a number.
        summary: What a large score means, ending before the name of the family.
    """

    name: str
    version: str
    summary: str


def place_last(readings: Floats, statistic: Statistic) -> Place:
    """Rank the last model of some readings among the others.

    Args:
        readings: Controls, and the suspect last, shape (p, m + 1).
        statistic: Scores all of them alike.
    """
    return place_of(np.asarray(statistic(readings), np.float64))


def place_of(scores: Floats) -> Place:
    """Rank the last of m + 1 scores among the others."""
    centre = np.median(scores)
    spread = float(np.sqrt(np.mean((scores - centre) ** 2)))
    score = float(scores[-1] - centre) / max(spread, 1e-12)
    return Place(score, int((scores[:-1] >= scores[-1]).sum()), len(scores) - 1)


def least(places: Sequence[Place]) -> Place:
    """The least telling of several places: where it is not known among which controls a suspect belongs."""
    return max(places, key=lambda place: place.p_value)


def evidence_of(
    place: Place, about: About, suspect: str, family: str, queries: int, *, among: str = ""
) -> Evidence:
    """A place as evidence."""
    return Evidence(
        detector=about.name,
        version=about.version,
        subject=suspect,
        guarantee=Guarantee.CONFORMAL,
        score=round(place.score, 6),
        p_value=place.p_value,
        p_floor=place.p_floor,
        n=queries,
        summary=f"{about.summary} {family}: {place.above} of {place.controls} controls{among} stand as high",
    )


def verdict_of(
    suspect: str,
    family: str,
    place: Place,
    evidence: Sequence[Evidence],
    *,
    queries: int,
    alpha: float,
    p_adjusted: float | None = None,
    families_tested: int = 1,
    told_apart: bool = True,
) -> LineageVerdict:
    """The verdict on one family.

    Args:
        suspect: Model.
        family: Family.
        place: Where the suspect stands.
        evidence: What stands behind it, first what drives the verdict.
        queries: Items asked.
        alpha: Level of a claim.
        p_adjusted: Corrected over families; None = named beforehand.
        families_tested: Families paid for.
        told_apart: It is documented that no control has a link to the family.
    """
    adjusted = place.p_value if p_adjusted is None else p_adjusted
    verdict, reason = conclude(adjusted, place.controls, families_tested, alpha, told_apart=told_apart)
    return LineageVerdict(
        suspect=suspect,
        teacher_family=family,
        verdict=verdict,
        reason=reason,
        p_value=place.p_value,
        p_adjusted=adjusted,
        p_floor=place.p_floor,
        log10_e=None,
        score=round(place.score, 6),
        queries=queries,
        controls=place.controls,
        families_tested=families_tested,
        evidence=tuple(evidence),
    )


def nothing_said(suspect: str, family: str, reason: str, *, queries: int = 0) -> LineageVerdict:
    """An inconclusive verdict without a number, and why."""
    return LineageVerdict(
        suspect=suspect,
        teacher_family=family,
        verdict=Lineage.INCONCLUSIVE,
        reason=reason,
        p_value=None,
        p_adjusted=None,
        p_floor=1.0,
        log10_e=None,
        score=None,
        queries=queries,
        controls=0,
        families_tested=1,
    )
