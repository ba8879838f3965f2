"""The exact test: is a model closer to another as its units stand than with its units in any other order?

If two models were started and trained independently, and the training of one treats its hidden units alike, then its
units stand in no order: every reordering of them was as likely. So the likeness of the two ranks among the likenesses
after random reorderings with equal chance, whatever the models learnt.

References:
    Zhu et al. (2025), Independence tests for language models, ICML, arXiv 2502.12292, constrained setting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.weights.tensors import Tensors
from kdguard.detectors.fingerprint.weights.units import Hidden, hidden_layers
from kdguard.errors import LineageError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How the test is run.

    Attributes:
        seed: Of the reorderings, and of the units compared.
        reorderings: The floor of p is 1 / (reorderings + 1).
        units: Most units of a layer that are compared; reordering some of them is exact as well.
    """

    seed: int = 0
    reorderings: int = 9_999
    units: int = 1_024


@dataclass(frozen=True)
class Likeness:
    """What the test found.

    Attributes:
        cosine: Mean cosine between units in the same place.
        reordered: The same after every reordering, shape (reorderings,).
        by_layer: Mean cosine of each layer.
        units: Units compared in all.
    """

    cosine: float
    reordered: Floats
    by_layer: tuple[float, ...]
    units: int

    @property
    def p_value(self) -> float:
        """Share of orders, the given one included, in which the models are at least as alike."""
        return (1.0 + int((self.reordered >= self.cosine).sum())) / (len(self.reordered) + 1.0)


def same_initialisation(one: Tensors, other: Tensors, settings: Settings) -> Likeness:
    """Compare the hidden units of two models, layer by layer.

    Raises:
        LineageError: They have other layers or widths: neither can hold the other's units in place.
    """
    return rank(cosines_of(one, other, settings), settings)


def cosines_of(one: Tensors, other: Tensors, settings: Settings) -> Iterator[Floats]:
    """Mean cosine of every unit of one with every unit of the other, shape (u, u), layer by layer.

    Raises:
        LineageError: They have other layers or widths.
    """
    layers, others = hidden_layers(one), hidden_layers(other)
    if [layer.units for layer in layers] != [layer.units for layer in others]:
        raise LineageError(
            f"{one.path.name} has feed-forward layers of {_widths(layers)} units, {other.path.name} of "
            f"{_widths(others)}: units cannot be compared in place"
        )
    rng = np.random.default_rng([settings.seed, 1])
    for mine, theirs in zip(layers, others, strict=True):
        yield _cosines(mine, theirs, one, other, settings.units, rng)


def rank(layers: Iterable[Floats], settings: Settings) -> Likeness:
    """Rank the given order of units among random ones.

    Args:
        layers: As `cosines_of` gives them.
        settings: Of the reorderings.
    """
    rng = np.random.default_rng([settings.seed, 0])
    reordered, sums, sizes = np.zeros(settings.reorderings), [], []
    for cosines in layers:
        sizes.append(len(cosines))
        sums.append(float(np.trace(cosines)))
        places = np.arange(len(cosines))
        for at in range(settings.reorderings):
            reordered[at] += cosines[rng.permutation(len(cosines)), places].sum()
    by_layer = tuple(total / size for total, size in zip(sums, sizes, strict=True))
    return Likeness(sum(sums) / sum(sizes), reordered / sum(sizes), by_layer, sum(sizes))


def _cosines(
    mine: Hidden, theirs: Hidden, one: Tensors, other: Tensors, most: int, rng: np.random.Generator
) -> Floats:
    """Mean cosine of every unit of one layer with every unit of the other, shape (u, u)."""
    places = np.sort(rng.permutation(mine.units)[:most])
    left, right = mine.read(one, places), theirs.read(other, places)
    if left.shape != right.shape:
        raise LineageError(
            f"layer {mine.name} must be as wide in both models, is {left.shape} and {right.shape}"
        )
    return np.asarray(left @ right.T, np.float64) / len(mine.tensors)


def _widths(layers: tuple[Hidden, ...]) -> str:
    return f"{len(layers)} x {sorted({layer.units for layer in layers})}"
