"""What a classifier may be asked: points between, beyond and about the owner's rows, and on the teacher's boundary.

Real rows are not asked. A skilled model gives their true labels, as the teacher does, and would pass for its copy; away
from them nobody taught the answer, so that what a model says there is its own, or its teacher's.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.labels.training import Predict

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

KIND_NAMES: Final = (
    "mixed",
    "crossed",
    "noised",
    "extrapolated",
    "boundary",
    "boundary off the data",
    "served",
)
MIXED, CROSSED, NOISED, BEYOND, BOUNDARY, BOUNDARY_OFF, SERVED = range(len(KIND_NAMES))
_HALVINGS: Final = 6


def candidates(rows: Floats, teacher: Predict, each: int, rng: np.random.Generator) -> tuple[Floats, Ints]:
    """Candidate queries.

    Args:
        rows: The owner's rows, shape (n, d).
        teacher: The teacher.
        each: Points of each kind; on the boundary perhaps fewer.
        rng: Where they are drawn; the teacher's owner has no other say in it.

    Returns:
        Queries, shape (q, d), and the place of each one's kind in `KIND_NAMES`, shape (q,).

    References:
        Cao, Jia and Gong (2021), IPGuard, AsiaCCS, for points on the boundary.
    """
    off = [crossed(rows, each, rng), _noised(rows, each, rng), _beyond(rows, each, rng)]
    found = [mixed(rows, each, rng), *off, on_boundary(rows, teacher, each, rng)]
    found.append(on_boundary(np.concatenate(off), teacher, each, rng))
    return np.concatenate(found), np.repeat(np.arange(len(found)), [len(part) for part in found])


def mixed(rows: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Mixtures of two rows, 20 to 80 % of each."""
    one, other = _pairs(len(rows), count, rng)
    share = rng.uniform(0.2, 0.8, (count, 1))
    return np.asarray(share * rows[one] + (1 - share) * rows[other], np.float64)


def crossed(rows: Floats, count: int, rng: np.random.Generator) -> Floats:
    """Some features of one row, the rest of another."""
    one, other = _pairs(len(rows), count, rng)
    from_one = rng.random((count, rows.shape[1])) < rng.uniform(0.2, 0.8, (count, 1))
    return np.where(from_one, rows[one], rows[other])


def on_boundary(rows: Floats, teacher: Predict, count: int, rng: np.random.Generator) -> Floats:
    """Halve the way between two rows of different label until the label changes within a sixty-fourth of it."""
    said = teacher(rows).argmax(axis=1)
    one, other = _pairs(len(rows), 6 * count, rng)
    differ = np.flatnonzero(said[one] != said[other])[:count]
    near, far = rows[one[differ]], rows[other[differ]]
    label = said[one[differ]]
    for _ in range(_HALVINGS if len(differ) else 0):
        middle = (near + far) / 2
        same = (teacher(middle).argmax(axis=1) == label)[:, None]
        near, far = np.where(same, middle, near), np.where(same, far, middle)
    return np.asarray((near + far) / 2, np.float64)


def _noised(rows: Floats, count: int, rng: np.random.Generator) -> Floats:
    aside = rng.normal(size=(count, rows.shape[1])) * rows.std(axis=0) * rng.uniform(0.2, 1.2, (count, 1))
    return np.asarray(rows[rng.integers(len(rows), size=count)] + aside, np.float64)


def _beyond(rows: Floats, count: int, rng: np.random.Generator) -> Floats:
    one, other = _pairs(len(rows), count, rng)
    return np.asarray(rows[one] + rng.uniform(0.3, 1, (count, 1)) * (rows[one] - rows[other]), np.float64)


def _pairs(rows: int, count: int, rng: np.random.Generator) -> tuple[Ints, Ints]:
    """Places of two different rows each."""
    one = rng.integers(rows, size=count)
    return one, (one + rng.integers(1, max(rows, 2), size=count)) % rows
