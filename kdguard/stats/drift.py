"""Whether the people being scored still look like the people the baseline was made from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.stats import ks_2samp

Floats = npt.NDArray[np.float64]

BULK = 0.9
_FEWEST = 20


def bulk_drift_p(scores: Floats, references: Floats) -> float:
    """Test whether the lower nine tenths of scores still follow the references.

    Both samples are cut at the references' 90th percentile. Given that cut, the references below it and innocent
    scores below it are independent draws of one truncated distribution, so the two-sample test is exact, and
    thieves, who sit above the cut, can neither switch the guarantee off nor hide a drift.

    Args:
        scores: One score an owner, shape (m,), NaN left out.
        references: One score an owner of the baseline, shape (r,).

    Returns:
        p-value of the two-sided Kolmogorov-Smirnov test; 1 when either side has fewer than 20 owners.
    """
    scores, references = scores[~np.isnan(scores)], references[~np.isnan(references)]
    if len(references) < _FEWEST:
        return 1.0
    cut = np.quantile(references, BULK, method="lower")
    bulk, bulk_references = scores[scores < cut], references[references < cut]
    if len(bulk) < _FEWEST or len(bulk_references) < _FEWEST:
        return 1.0
    return float(ks_2samp(bulk, bulk_references, method="asymp").pvalue)


def any_drift(p_values: npt.NDArray[np.float64], level: float) -> bool:
    """Bonferroni over strata: drift anywhere at a family-wise level."""
    return bool(len(p_values)) and bool(np.nanmin(p_values) * len(p_values) <= level)
