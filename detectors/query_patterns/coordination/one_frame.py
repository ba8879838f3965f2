"""X3: different owners fill the same prompt frame, each with contents of its own."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.evidence import Guarantee
from kdguard.scoring.groups.pooled import HalfOne

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OneFrame:
    """Chance that requests of two different owners share first or last words, while their texts differ.

    Disjoint shards of one task list leave many shared frames and few shared texts; a popular benchmark or a copied
    prompt leaves both, so shared texts are taken off (log-scoring reference, X3: complementary shards).
    """

    name: str = "one_frame"
    version: str = "1"
    guarantee: Guarantee = Guarantee.DESCRIPTIVE
    weight: float = 1.0
    supporting: bool = False

    def measure(self, half: HalfOne) -> Floats:
        """Larger chance of the two ends, less the chance of the same text."""
        rows = half.rows
        ends = [across_owners(half, codes) for codes in (rows.head, rows.tail)]
        return np.clip(np.fmax(*ends) - across_owners(half, rows.text), 0.0, 1.0)

    def score(self, value: Floats, units: npt.NDArray[np.int64]) -> Floats:
        """log2 of one more than the owners that share it."""
        return np.log2(1.0 + units * np.maximum(value, 0.0))

    def explain(self, value: float) -> str:
        """Say it in words."""
        return f"with chance {value:.2f} two owners' requests begin or end with the same words, and differ otherwise"


def across_owners(half: HalfOne, codes: npt.NDArray[np.uint64]) -> Floats:
    """Chance that a request of one owner and one of another share a code, every pair of owners weighing the same.

    Args:
        half: Rows of groups.
        codes: One code a row, 0 = absent, shape (n,).

    Returns:
        Shape (g,); NaN with fewer than two owners.
    """
    size = max(half.groups, 1)
    owners, who = np.unique(half.unit, return_inverse=True)
    unit = half.group * max(len(owners), 1) + who
    units, unit_of = np.unique(unit, return_inverse=True)
    share = 1.0 / np.bincount(unit_of)[unit_of]
    group_of_unit = units // max(len(owners), 1)
    present = codes != 0
    order = np.lexsort((unit_of[present], codes[present], half.group[present]))
    group, code = half.group[present][order], codes[present][order]
    member, weight = unit_of[present][order], share[present][order]
    if not len(order):
        return np.full(half.groups, np.nan)
    new_code = np.concatenate(([True], (group[1:] != group[:-1]) | (code[1:] != code[:-1])))
    new_cell = new_code | np.concatenate(([True], member[1:] != member[:-1]))
    cells = np.add.reduceat(weight, np.flatnonzero(new_cell))
    code_starts = np.flatnonzero(new_code[new_cell])
    together = np.square(np.add.reduceat(cells, code_starts))
    alone = np.add.reduceat(np.square(cells), code_starts)
    shared = np.bincount(group[new_code], weights=together - alone, minlength=size)
    count = np.bincount(group_of_unit, minlength=size).astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(count > 1, shared / (count * (count - 1)), np.nan)[: half.groups]
