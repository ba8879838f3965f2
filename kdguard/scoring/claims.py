"""Which claims a number of references rules out, said before anyone hopes for them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kdguard.scoring.ranking import DESIGN_ALPHA, Panel
from kdguard.stats.conformal import p_floor as floor_of
from kdguard.stats.conformal import references_needed
from kdguard.verdict import fewest_selected

CALIBRATION_SHARE = 2 / 3


@dataclass(frozen=True, slots=True)
class Claim:
    """Something a person may hope to say.

    Attributes:
        claim: What.
        possible: Whether the smallest p allows it.
        why: Why, and what it would need.
    """

    claim: str
    possible: bool
    why: str


def claims(
    references: int, owners: int, share: float, *, alpha: float = DESIGN_ALPHA, fdr: float = 0.1
) -> tuple[Claim, ...]:
    """Tell what can be claimed of accounts in a log.

    Args:
        references: Calibration owners of a volume bin.
        owners: Owners in the log with enough requests to be ranked, at most.
        share: The bin's share of alpha.
        alpha: Level of a review.
        fdr: False discovery rate among flagged owners.
    """
    p_floor = min(floor_of(references) / share, 1.0)
    smallest = f"smallest p {p_floor:.2g} with {references:,} references"
    review = f"{smallest}; needs {references_needed(alpha * share):,} references"
    fewest = fewest_selected(p_floor, owners, fdr)
    return (
        Claim(f"review at alpha = {alpha:g}", p_floor <= alpha, smallest if p_floor <= alpha else review),
        Claim(
            "flag of one owner alone",
            fewest == 1 and p_floor <= alpha,
            _alone(fewest, owners, references, references_needed(min(fdr / max(owners, 1), alpha) * share)),
        ),
    )


def _alone(fewest: int | None, owners: int, references: int, needed: int) -> str:
    if not owners:
        return "nobody has enough requests to be ranked"
    if fewest == 1:
        return f"among {owners:,} owners with {references:,} references"
    together = (
        "not even all of them together"
        if fewest is None
        else f"at least {fewest:,} must stand out together, one alone needs {needed:,}"
    )
    return f"BH over owners, {owners:,} here, cannot flag rare attackers with {references:,} references: {together}"


def if_learnt_from(owners: int) -> int:
    """About how many references a baseline has that is learnt from so many owners: a third of them teaches."""
    return int(owners * CALIBRATION_SHARE)


def of_panel(panel: Panel) -> tuple[int, float]:
    """References and share of alpha of the bin with the smallest p."""
    sizes = np.sum(~np.isnan(panel.best), axis=0)
    at = int(np.argmax((sizes + 1) * np.asarray(panel.bins.share)))
    return int(sizes[at]), panel.bins.share[at]
