"""Published ways of finding extraction, written anew from the papers, to be measured beside ours."""

from __future__ import annotations

from kdguard.detectors.rivals.bag_of_words import BagOfWords
from kdguard.detectors.rivals.mean_discrepancy import MeanDiscrepancy
from kdguard.detectors.rivals.pairs import ClosePairs
from kdguard.detectors.rivals.prada import Prada
from kdguard.detectors.rivals.rate_limit import RateLimit
from kdguard.detectors.rivals.weighted_sum import WeightedSum
from kdguard.simulate.evaluation.rivalry import Rival


def default_rivals() -> tuple[Rival, ...]:
    """Every rival, not fitted."""
    return (Prada(), ClosePairs(), MeanDiscrepancy(), WeightedSum(), RateLimit(), BagOfWords())


__all__ = [
    "BagOfWords",
    "ClosePairs",
    "MeanDiscrepancy",
    "Prada",
    "RateLimit",
    "WeightedSum",
    "default_rivals",
]
