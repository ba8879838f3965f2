"""What thieves do to a model's weights next: quantise, prune, merge. Pure functions of state dictionaries."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from kdguard.errors import TrainingError

Weights = Mapping[str, Tensor]
_LEVELS = 127


def quantised(weights: Weights) -> dict[str, Tensor]:
    """Matrices rounded to 8 bits and back, each row with its own scale; gains stay.

    Symmetric round-to-nearest: a row's largest entry becomes 127 steps.
    """
    return {name: _rounded(value) if value.dim() == 2 else value for name, value in weights.items()}


def pruned(weights: Weights, share: float) -> dict[str, Tensor]:
    """Matrices without the given share of their entries, smallest magnitudes first; gains stay.

    Args:
        weights: By name.
        share: Of each matrix, in [0, 1).

    Raises:
        TrainingError: A share outside that range.
    """
    if not 0 <= share < 1:
        raise TrainingError(f"the share to prune must be in [0, 1), got {share}")
    return {name: _cut(value, share) if value.dim() == 2 else value for name, value in weights.items()}


def merged(one: Weights, other: Weights, share: float) -> dict[str, Tensor]:
    """The mean of two models of one shape: `share` of one, the rest of the other.

    Raises:
        TrainingError: A share outside [0, 1], or models of different shape.
    """
    if not 0 <= share <= 1:
        raise TrainingError(f"the share of a merged model must be in [0, 1], got {share}")
    if {name: value.shape for name, value in one.items()} != {
        name: value.shape for name, value in other.items()
    }:
        raise TrainingError("only models of one shape can be merged")
    return {name: share * value + (1 - share) * other[name] for name, value in one.items()}


def _rounded(matrix: Tensor) -> Tensor:
    step = matrix.abs().amax(dim=1, keepdim=True).clamp_min(torch.finfo(torch.float32).tiny) / _LEVELS
    return (matrix / step).round().clamp(-_LEVELS, _LEVELS) * step


def _cut(matrix: Tensor, share: float) -> Tensor:
    dropped = int(share * matrix.numel())
    if not dropped:
        return matrix
    order = matrix.abs().flatten().argsort(stable=True)[:dropped]
    kept = matrix.flatten().clone()
    kept[order] = 0
    return kept.view_as(matrix)
