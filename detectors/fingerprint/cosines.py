"""Cosines between every model's answer and every family's, prompt by prompt."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from kdguard.lineage.families import Families

Floats = npt.NDArray[np.float64]


def cosines(grams: csr_matrix, answered: npt.NDArray[np.bool_], families: Families) -> Floats:
    """Mean cosine to the members of each family, a model itself left out, shape (P, M, K); NaN = cannot tell.

    Args:
        grams: Rows of unit length, prompt by prompt, shape (P * M, columns).
        answered: Which model answered which prompt, shape (P, M).
        families: The families.
    """
    members = np.flatnonzero(families.of_model >= 0)
    of_member = np.eye(len(families))[families.of_model[members]]  # (T, K)
    models = answered.shape[1]
    found = np.empty((len(answered), models, len(families)))
    for prompt, present in enumerate(answered):
        rows = grams[prompt * models : (prompt + 1) * models]
        found[prompt] = _to_families(rows, members, of_member, present)
    return found


def _to_families(
    rows: csr_matrix, members: npt.NDArray[np.int64], of_member: Floats, present: npt.NDArray[np.bool_]
) -> Floats:
    """Mean cosine to each family's members that answered, shape (M, K)."""
    cosine = (rows @ rows[members].T).toarray().astype(np.float64)
    known = present[:, None] & present[members][None, :]
    known[members, np.arange(len(members))] = False
    count = known @ of_member
    with np.errstate(invalid="ignore"):
        return np.where(count > 0, np.where(known, cosine, 0.0) @ of_member / np.maximum(count, 1), np.nan)
