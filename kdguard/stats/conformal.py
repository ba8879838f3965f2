"""Ranking one score among exchangeable references."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def conformal_p(scores: Floats, references: Floats) -> Floats:
    """Chance that an exchangeable reference scores at least as high.

    Args:
        scores: Scores of m subjects, larger = more suspicious, shape (m,); NaN gives NaN.
        references: Scores of r references, shape (r,), in any order.

    Returns:
        p-values of shape (m,): (1 + #{references >= score}) / (r + 1), never below 1 / (r + 1).

    References:
        Vovk, Gammerman and Shafer (2005), section 2.2; the +1 as in Phipson and Smyth (2010).
    """
    ordered = np.sort(references)
    at_least = len(ordered) - np.searchsorted(ordered, scores, side="left")
    p_values = (1.0 + at_least) / (len(ordered) + 1.0)
    return np.where(np.isnan(scores), np.nan, p_values)


def p_floor(references: int) -> float:
    """Smallest p-value that r references can express."""
    return 1.0 / (references + 1.0)


def references_needed(alpha: float) -> int:
    """Fewest references whose floor is at most alpha."""
    return int(np.ceil(1.0 / alpha - 1e-9)) - 1
