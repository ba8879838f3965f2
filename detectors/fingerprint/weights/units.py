"""Hidden units of a model's feed-forward layers: what enters each of them, and what it writes.

Reordering the units of a layer changes nothing that a model computes. How they are ordered comes from the random start
and survives training, quantising, pruning and merging.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from kdguard.detectors.fingerprint.weights.tensors import Singles, Tensors
from kdguard.errors import LineageError

_ROWS, _COLUMNS = 0, 1
_FORMS: Final[Mapping[str, tuple[tuple[str, int], ...]]] = {
    "llama": (
        (r"(.*layers\.\d+\.mlp\.)gate_proj\.weight", _ROWS),
        (r"up_proj\.weight", _ROWS),
        (r"down_proj\.weight", _COLUMNS),
    ),
    "neox": ((r"(.*layers\.\d+\.mlp\.)dense_h_to_4h\.weight", _ROWS), (r"dense_4h_to_h\.weight", _COLUMNS)),
    "gpt2": ((r"(.*h\.\d+\.mlp\.)c_fc\.weight", _COLUMNS), (r"c_proj\.weight", _ROWS)),
    "bert": ((r"(.*layer\.\d+\.)intermediate\.dense\.weight", _ROWS), (r"output\.dense\.weight", _COLUMNS)),
    "network": ((r"()0\.weight", _ROWS), (r"2\.weight", _COLUMNS)),
}
"""How layers are named: a first tensor with the layer's prefix, the others behind it; which axis counts units."""


@dataclass(frozen=True)
class Hidden:
    """A feed-forward layer.

    Attributes:
        name: Prefix of its tensors.
        tensors: Name of each tensor with the axis that counts units.
        units: Units.
    """

    name: str
    tensors: tuple[tuple[str, int], ...]
    units: int

    def read(self, weights: Tensors, places: npt.NDArray[np.int64]) -> Singles:
        """Everything attached to some units, a row a unit, each part scaled to unit length, (units, d)."""
        parts = []
        for name, axis in self.tensors:
            matrix = weights.read(name)
            rows = (matrix if axis == _ROWS else matrix.T)[places]
            parts.append(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12))
        return np.concatenate(parts, axis=1).astype(np.float32)


def hidden_layers(weights: Tensors) -> tuple[Hidden, ...]:
    """The feed-forward layers of a model, in order.

    Raises:
        LineageError: None is known by its names.
    """
    for form in _FORMS.values():
        found = tuple(_of_form(weights, form))
        if found:
            return found
    raise LineageError(
        f"{weights.path}: has no feed-forward layer whose names are known (as in Llama, GPT-NeoX, GPT-2, BERT); its "
        f"first tensors are {', '.join(list(weights.places)[:4])}"
    )


def _of_form(weights: Tensors, form: tuple[tuple[str, int], ...]) -> Iterator[Hidden]:
    first, axis = form[0]
    matches = [match for name in weights.places if (match := re.fullmatch(first, name))]
    for match in sorted(matches, key=lambda one: [int(part) for part in re.findall(r"\d+", one[1])]):
        names = [(match[0], axis)]
        for pattern, along in form[1:]:
            names += [
                (name, along)
                for name in weights.places
                if name.startswith(match[1]) and re.fullmatch(pattern, name[len(match[1]) :])
            ]
        if len(names) == len(form):
            yield Hidden(match[1], tuple(names), weights.places[match[0]][2][axis])
