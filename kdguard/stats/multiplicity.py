"""Many claims at once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def holm(p_values: npt.ArrayLike, claims: int | None = None) -> Floats:
    """Adjust p-values so that the chance of any false claim at all stays below alpha (Holm 1979).

    Args:
        p_values: k of the claims' p-values.
        claims: Number of claims m >= k that were possible. Where only k are shown, the others count as larger, which
            never makes an adjusted value smaller than it is with all of them.

    Returns:
        Adjusted p-values in the order given.

    Raises:
        ValueError: `claims` is below the number of p-values.
    """
    given = np.asarray(p_values, np.float64)
    total = given.size if claims is None else claims
    if total < given.size:
        raise ValueError(f"claims must be at least the {given.size} p-values given, got {total}")
    order = np.argsort(given, kind="stable")
    steps = given[order] * (total - np.arange(given.size))
    adjusted = np.empty(given.size)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1)
    return adjusted
