"""Learnt linear maps from the student's spaces to the teacher's; thrown away after training."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from kdguard.errors import InputError


class Projections(nn.Module):
    """One matrix for the embeddings and one for each pair of mapped layers.

    Args:
        student_width: d_s.
        teacher_width: d_t.
        layers: Pairs of layers mapped, at least 1.
        generator: Source of the first weights, normal with variance 1 / d_s.
        shared: Whether all layers, embeddings included, use one matrix, as TinyBERT's authors do.

    Attributes:
        weights: Shape (1 or layers + 1, d_s, d_t).
    """

    def __init__(
        self,
        student_width: int,
        teacher_width: int,
        layers: int,
        generator: torch.Generator,
        shared: bool = False,
    ) -> None:
        super().__init__()
        if min(student_width, teacher_width, layers) < 1:
            raise InputError(
                f"Widths and layers must be at least 1, got {student_width}, {teacher_width} and {layers}."
            )
        self.layers, self.shared = layers, shared
        shape = (1 if shared else layers + 1, student_width, teacher_width)
        self.weights = nn.Parameter(torch.randn(shape, generator=generator) / student_width**0.5)

    def of(self, place: int) -> Tensor:
        """Matrix (d_s, d_t) of the embeddings (0) or of the i-th pair of layers (from 1).

        Raises:
            InputError: there are fewer pairs.
        """
        if not 0 <= place <= self.layers:
            raise InputError(
                f"These projections are for {self.layers} pairs of layers, asked for pair {place}."
            )
        return self.weights[0 if self.shared else place]
