"""X4: different owners ask about the same things in the same way."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Guarantee
from kdguard.features.embedding import SIGNS, unpack
from kdguard.scoring.groups.pooled import HalfOne

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OneMeaning:
    """Mean similarity of prompts of different owners, from sums of random-hyperplane signs.

    The kernel mean embedding of each owner is unbiased, so the product of two owners' is the mean similarity of
    their prompts (Charikar 2002; Gretton et al. 2012, JMLR 13:723-773); no pair of prompts is formed.
    """

    name: str = "one_meaning"
    version: str = "1"
    guarantee: Guarantee = Guarantee.DESCRIPTIVE
    weight: float = 0.5
    supporting: bool = False

    def measure(self, half: HalfOne) -> Floats:
        """Mean over pairs of owners of the inner product of their mean sign vectors, over 128."""
        return mean_product(half, unpack(half.rows.signs) * half.rows.has_text[:, None]) / SIGNS

    def score(self, value: Floats, units: npt.NDArray[np.int64]) -> Floats:
        """log2 of one more than the owners that share it."""
        return np.log2(1.0 + units * np.maximum(value, 0.0))

    def explain(self, value: float) -> str:
        """Say it in words."""
        return f"prompts of different owners are closer than usual (mean similarity {value:.2f})"


def mean_product(half: HalfOne, vectors: npt.NDArray[np.generic]) -> Floats:
    """Mean over pairs of different owners of the inner product of their mean vectors.

    Args:
        half: Rows of groups.
        vectors: One vector a row, shape (n, d).

    Returns:
        Shape (g,); NaN with fewer than two owners.
    """
    order = np.lexsort((half.unit, half.group))
    group, owner = half.group[order], half.unit[order]
    if not len(order):
        return np.full(half.groups, np.nan)
    starts = np.flatnonzero(np.concatenate(([True], (group[1:] != group[:-1]) | (owner[1:] != owner[:-1]))))
    size = np.diff(np.append(starts, len(order)))
    means = np.add.reduceat(vectors[order], starts, axis=0, dtype=np.float64) / size[:, None]
    group_starts = np.flatnonzero(np.concatenate(([True], group[starts][1:] != group[starts][:-1])))
    total = np.square(np.add.reduceat(means, group_starts, axis=0)).sum(axis=1)
    alone = np.add.reduceat(np.square(means).sum(axis=1), group_starts)
    count = np.diff(np.append(group_starts, len(starts))).astype(np.float64)
    product = np.full(half.groups, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        product[group[starts][group_starts]] = np.where(
            count > 1, (total - alone) / (count * (count - 1)), np.nan
        )
    return product
