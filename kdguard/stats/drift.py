"""Whether the people being scored still look like the people the baseline was made from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import kolmogorov

Floats = npt.NDArray[np.float64]

BULK = 0.9
TOLERANCE = 0.05
_FEWEST = 20


def bulk_drift_p(scores: Floats, references: Floats) -> float:
    """Test whether the lower nine tenths of scores lie further from the references than is tolerated.

    Both samples are cut at the references' 90th percentile. Given that cut, the references below it and innocent
    scores below it are independent draws of one truncated distribution, so the two-sample test is valid, and
    thieves, who sit above the cut, can neither switch the guarantee off nor hide a drift.

    Decision, 2026-11-28. The null is that no share of the bulk has moved by more than 5 percentage points
    (Kolmogorov-Smirnov distance of the two populations at most `TOLERANCE`), not that nothing has moved. Two
    months of one provider never have the same distribution: prompts are new, and with owners enough a test of
    equality suspends a guarantee for ever over a difference that changes no verdict. By the triangle inequality
    the observed distance exceeds the tolerated one by c with at most the chance that it exceeds 0 by c under
    equality. Given up: drifts of less than a twentieth of the bulk.

    Args:
        scores: One score an owner, shape (m,), NaN left out.
        references: One score an owner of the baseline, shape (r,).

    Returns:
        Upper bound of the p-value by the two-sided Kolmogorov-Smirnov test (asymptotic); 1 when either side has fewer
        than 20 owners.
    """
    scores, references = scores[~np.isnan(scores)], references[~np.isnan(references)]
    if len(references) < _FEWEST:
        return 1.0
    cut = np.quantile(references, BULK, method="lower")
    bulk, bulk_references = scores[scores < cut], references[references < cut]
    if len(bulk) < _FEWEST or len(bulk_references) < _FEWEST:
        return 1.0
    beyond = max(_distance(bulk, bulk_references) - TOLERANCE, 0.0)
    size = len(bulk) * len(bulk_references) / (len(bulk) + len(bulk_references))
    return float(kolmogorov(np.sqrt(size) * beyond))


def _distance(left: Floats, right: Floats) -> float:
    """Kolmogorov-Smirnov distance: the largest gap between two empirical distribution functions."""
    values = np.concatenate([left, right])
    shares = [np.searchsorted(np.sort(one), values, side="right") / len(one) for one in (left, right)]
    return float(np.max(np.abs(shares[0] - shares[1])))


def any_drift(p_values: npt.NDArray[np.float64], level: float) -> bool:
    """Bonferroni over strata: drift anywhere at a family-wise level."""
    return bool(len(p_values)) and bool(np.nanmin(p_values) * len(p_values) <= level)
