"""What a classifier may be asked: real rows, mixtures of two, and points on the teacher's own boundary."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.labels.training import Predict

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

REAL, MIXED, BOUNDARY, SERVED = 0, 1, 2, 3
KIND_NAMES: Final = ("real", "mixed", "boundary", "served")
_HALVINGS: Final = 6


def candidates(
    rows: Floats, teacher: Predict, mixed: int, boundary: int, rng: np.random.Generator
) -> tuple[Floats, Ints]:
    """Candidate queries.

    Args:
        rows: Real rows that no control was trained on, shape (n, d).
        teacher: The teacher.
        mixed: Mixtures of two rows, 30 to 70 % of each.
        boundary: Points between two rows that the teacher labels differently, where its label changes, as IPGuard asks.
        rng: Where they are drawn; the teacher's owner has no other say in it.

    Returns:
        Queries, shape (q, d), and the kind of each: `REAL`, `MIXED` or `BOUNDARY`.

    References:
        Cao, Jia and Gong (2021), IPGuard, AsiaCCS, for points on the boundary.
    """
    share = rng.uniform(0.3, 0.7, (mixed, 1))
    one, other = rng.integers(len(rows), size=(2, mixed))
    between = share * rows[one] + (1 - share) * rows[other]
    found = [rows, between, _on_boundary(rows, teacher, boundary, rng)]
    kinds = np.repeat([REAL, MIXED, BOUNDARY], [len(part) for part in found])
    return np.concatenate(found), kinds.astype(np.int64)


def _on_boundary(rows: Floats, teacher: Predict, count: int, rng: np.random.Generator) -> Floats:
    """Halve the way between two rows of different label until the label changes within a sixty-fourth of it."""
    said = teacher(rows).argmax(axis=1)
    one, other = rng.integers(len(rows), size=(2, 4 * count))
    differ = np.flatnonzero(said[one] != said[other])[:count]
    near, far = rows[one[differ]], rows[other[differ]]
    label = said[one[differ]]
    for _ in range(_HALVINGS if len(differ) else 0):
        middle = (near + far) / 2
        same = (teacher(middle).argmax(axis=1) == label)[:, None]
        near, far = np.where(same, middle, near), np.where(same, far, middle)
    return near
