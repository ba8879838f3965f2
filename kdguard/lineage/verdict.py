"""From ranks to verdicts on teacher families, with the correction and the floors that few controls impose."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from kdguard.errors import LineageError
from kdguard.evidence import Evidence, Guarantee
from kdguard.lineage.ranked import Ranked
from kdguard.stats.conformal import references_needed

VERDICT_SCHEMA_VERSION = 1
MOST_ALPHA = 0.5
"""At such a level a claim would say nothing."""


class Lineage(StrEnum):
    """What is concluded about one suspect and one family.

    Attributes:
        SUPPORTED: The suspect stands out among its controls by more than chance allows at alpha.
        NOT_SUPPORTED: It does not. That is no proof of independence.
        INCONCLUSIVE: The data could not support a claim either way; the reason is given.
    """

    SUPPORTED = "supported"
    NOT_SUPPORTED = "not_supported"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True, kw_only=True)
class LineageVerdict:
    """One line of `kdguard lineage test --json`.

    Attributes:
        suspect: Model.
        teacher_family: Family it was tested for.
        verdict: Conclusion.
        reason: Why, in words.
        p_value: Conformal rank under optional stopping; None = no rank.
        p_adjusted: The same, corrected over the families tested (Holm).
        p_floor: Smallest p_value the controls can express.
        log10_e: Of the margin bet beside it; None = no bet.
        score: Statistic over all prompts, in root mean squares above the median of suspect and controls.
        queries: Prompts looked at when the verdict was reached.
        controls: Models ranked among.
        families_tested: Families that `p_adjusted` pays for.
        evidence: What every test says; the first drives the verdict.
        ranked: What the rank is made of, for reports and bundles; None = no rank.
    """

    suspect: str
    teacher_family: str
    verdict: Lineage
    reason: str
    p_value: float | None
    p_adjusted: float | None
    p_floor: float
    log10_e: float | None
    score: float | None
    queries: int
    controls: int
    families_tested: int
    evidence: tuple[Evidence, ...] = ()
    ranked: Ranked | None = field(default=None, compare=False, repr=False)

    @property
    def guarantee(self) -> Guarantee:
        """Of the evidence that drives the verdict; where there is none, nothing is guaranteed."""
        return self.evidence[0].guarantee if self.evidence else Guarantee.DESCRIPTIVE

    def to_json(self) -> dict[str, Any]:
        """The promised JSON form."""
        return {
            "suspect": self.suspect,
            "teacher_family": self.teacher_family,
            "verdict": self.verdict.value,
            "reason": self.reason,
            "p_value": self.p_value,
            "p_adjusted": self.p_adjusted,
            "p_floor": self.p_floor,
            "log10_e": self.log10_e,
            "score": self.score,
            "queries": self.queries,
            "controls": self.controls,
            "families_tested": self.families_tested,
            "guarantee": self.guarantee.value,
            "evidence": [_evidence_json(item) for item in self.evidence],
        }


def _evidence_json(item: Evidence) -> dict[str, Any]:
    return {
        "detector": item.detector,
        "version": item.version,
        "guarantee": item.guarantee.value,
        "score": item.score,
        "p_value": item.p_value,
        "log10_e": item.log10_e,
        "n": item.n,
        "summary": item.summary,
    }


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment over families (Holm 1979, Scand. J. Stat. 6:65-70)."""
    ordered = sorted(p_values.items(), key=lambda pair: pair[1])
    adjusted, so_far = {}, 0.0
    for at, (name, p_value) in enumerate(ordered):
        so_far = max(so_far, min(1.0, (len(ordered) - at) * p_value))
        adjusted[name] = so_far
    return adjusted


def checked_level(alpha: float) -> float:
    """The level of a claim.

    Raises:
        LineageError: It is none.
    """
    if not 0 < alpha < MOST_ALPHA:
        raise LineageError(f"alpha must be above 0 and below {MOST_ALPHA:g}, got {alpha:g}")
    return alpha


def conclude(
    p_adjusted: float, controls: int, families_tested: int, alpha: float, *, told_apart: bool
) -> tuple[Lineage, str]:
    """Verdict and reason.

    Args:
        p_adjusted: Corrected p-value.
        controls: Controls ranked among.
        families_tested: Families that it pays for.
        alpha: Level of a claim.
        told_apart: It is documented that no control has a link to the family.
    """
    needed = references_needed(checked_level(alpha) / families_tested)
    if controls < needed:
        plural = "families" if families_tested > 1 else "family"
        return Lineage.INCONCLUSIVE, (
            f"{controls} controls cannot support {families_tested} {plural} at {alpha:g}: {needed} are needed"
        )
    if p_adjusted > alpha:
        return (
            Lineage.NOT_SUPPORTED,
            "not distinguishable from the controls at this level; no proof of independence",
        )
    if not told_apart:
        return Lineage.INCONCLUSIVE, (
            "the suspect stands out, but nothing tells the controls apart from the family: give --controls, or a "
            "vendor for every family"
        )
    return Lineage.SUPPORTED, "stands out among control models without a known link to the family"


def adjusted(p_values: Sequence[float], names: Sequence[str], *, adjust: bool) -> list[float]:
    """Correct the p-values of one suspect over its families, or leave families named beforehand as they are."""
    if not adjust:
        return list(p_values)
    found = holm(dict(zip(names, p_values, strict=True)))
    return [found[name] for name in names]
