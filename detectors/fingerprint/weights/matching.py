"""Likeness that survives reordering: units of one layer matched with those of another. Descriptive."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from kdguard.detectors.fingerprint.weights.tensors import Tensors
from kdguard.detectors.fingerprint.weights.units import Hidden, hidden_layers

Floats = npt.NDArray[np.float64]

_MOST_UNITS = 1_024


@dataclass(frozen=True)
class Matched:
    """How layers of two models fit.

    Attributes:
        fits: Mean cosine of matched units of each layer of one with each of the other, (l, k); NaN where widths differ.
        best: For each layer of the first, the layer of the second that fits best.
        moved: Share of units that are matched with one in another place, over best fits.
    """

    fits: Floats
    best: tuple[int, ...]
    moved: float


def match_layers(one: Tensors, other: Tensors) -> Matched:
    """Match every layer of one model with every layer of another.

    Independent models match by chance as well, less well the wider they are; there is no p-value here.
    """
    mine, theirs = hidden_layers(one), hidden_layers(other)
    read = [_read(layer, one) for layer in mine], [_read(layer, other) for layer in theirs]
    fits = np.full((len(mine), len(theirs)), np.nan)
    stays = np.zeros_like(fits)
    for row, left in enumerate(read[0]):
        for column, right in enumerate(read[1]):
            if left.shape[1] == right.shape[1]:
                cosines = left @ right.T / len(mine[row].tensors)
                rows, columns = linear_sum_assignment(-cosines)
                fits[row, column] = cosines[rows, columns].mean()
                stays[row, column] = (rows == columns).mean()
    if np.isnan(fits).all():
        return Matched(fits, (), 1.0)
    best = tuple(int(np.nanargmax(row)) if not np.isnan(row).all() else -1 for row in fits)
    moved = 1.0 - float(np.mean([stays[row, column] for row, column in enumerate(best)]))
    return Matched(fits, best, moved)


def _read(layer: Hidden, weights: Tensors) -> npt.NDArray[np.float32]:
    return layer.read(weights, np.arange(min(layer.units, _MOST_UNITS)))
