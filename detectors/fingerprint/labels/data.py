"""The owner's labelled rows: what controls are trained on and queries are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from kdguard.errors import LineageError
from kdguard.lineage.tables import read_numbers

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

LABEL, TAUGHT = "label", "taught"
FEWEST_ROWS = 60


@dataclass(frozen=True, eq=False)
class Labelled:
    """Rows with their true labels.

    Attributes:
        rows: Shape (n, d).
        truth: Place of each row's label in `names`, shape (n,).
        names: Labels, sorted.
        taught: Whether the teacher learnt from the row, shape (n,); its mistakes are to be sought among the others.
    """

    rows: Floats
    truth: Ints
    names: tuple[str, ...]
    taught: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.rows)

    def taken(self, places: Ints) -> Labelled:
        """Some of the rows."""
        return Labelled(self.rows[places], self.truth[places], self.names, self.taught[places])


def labelled(
    rows: npt.ArrayLike, labels: Sequence[object], taught: npt.ArrayLike | None = None, *, name: str = "data"
) -> Labelled:
    """Check rows and labels.

    Args:
        rows: Shape (n, d).
        labels: Their true labels.
        taught: Which the teacher learnt from, shape (n,); None = not told.
        name: For messages.

    Raises:
        LineageError: Not a table of finite numbers, one label a row, two labels and `FEWEST_ROWS` rows at least.
    """
    found = np.asarray(rows, np.float64)
    told = [str(label) for label in labels]
    if found.ndim != 2 or len(found) != len(told):
        raise LineageError(
            f"{name}: must be one row of numbers a label, got {found.shape} and {len(told)} labels"
        )
    if not np.isfinite(found).all():
        bad = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise LineageError(f"{name}: every feature must be a finite number; row {bad} is not")
    names = tuple(sorted(set(told)))
    if len(names) < 2 or len(found) < FEWEST_ROWS:
        raise LineageError(
            f"{name}: needs two labels and {FEWEST_ROWS} rows at least to train controls, got {len(names)} labels and "
            f"{len(found)} rows"
        )
    place = {label: at for at, label in enumerate(names)}
    learnt = np.zeros(len(found), np.bool_) if taught is None else np.asarray(taught, np.bool_)
    if len(learnt) != len(found) or (~learnt).sum() < FEWEST_ROWS // 3:
        raise LineageError(
            f"{name}: needs {FEWEST_ROWS // 3} rows that the teacher did not learn from, has {int((~learnt).sum())}"
        )
    return Labelled(found, np.array([place[label] for label in told], np.int64), names, learnt)


def read_labelled(path: Path) -> Labelled:
    """Read a table with a column `label`, perhaps one `taught`; all other columns are features.

    Raises:
        LineageError: It cannot be read, has no column `label`, or a feature that is no number.
    """
    frame = read_numbers(path)
    if LABEL not in frame.columns:
        raise LineageError(
            f"{path}: must have a column 'label'; it has {', '.join(map(str, frame.columns[:8]))}"
        )
    taught = frame[TAUGHT].astype(bool).to_numpy() if TAUGHT in frame.columns else None
    return labelled(_features(frame, path), list(frame[LABEL]), taught, name=str(path))


def _features(frame: pd.DataFrame, path: Path) -> Floats:
    features = frame.drop(columns=[LABEL, TAUGHT], errors="ignore")
    wrong = [str(name) for name in features.columns if not pd.api.types.is_numeric_dtype(features[name])]
    if wrong or features.empty:
        raise LineageError(f"{path}: features must be columns of numbers; {wrong[:3] or 'there is none'}")
    return features.to_numpy(np.float64)
