"""Which teacher layer each student layer learns from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kdguard.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerMap:
    """Pairs of layers, counted from 1; the embeddings (layer 0 on both sides) and the logits are not listed.

    Attributes:
        student_layers: Layers of the student, at least 1.
        teacher_layers: Layers of the teacher, at least 1.
        pairs: (student layer, teacher layer), student layers rising and distinct, teacher layers not falling.

    Raises:
        InputError: a layer out of range, a student layer twice, an order that crosses, or no pair.
    """

    student_layers: int
    teacher_layers: int
    pairs: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        if not self.pairs:
            raise InputError("A layer map must hold at least one pair of layers.")
        for mine, theirs in self.pairs:
            if not (1 <= mine <= self.student_layers and 1 <= theirs <= self.teacher_layers):
                raise InputError(
                    f"Layers are counted from 1 to {self.student_layers} (student) and {self.teacher_layers} "
                    f"(teacher), got the pair ({mine}, {theirs})."
                )
        for (mine, theirs), (next_mine, next_theirs) in zip(self.pairs, self.pairs[1:], strict=False):
            if next_mine <= mine or next_theirs < theirs:
                raise InputError(
                    "Student layers must rise and teacher layers must not fall, "
                    f"got ({mine}, {theirs}) before ({next_mine}, {next_theirs})."
                )


def uniform_map(student_layers: int, teacher_layers: int) -> LayerMap:
    """Student layer i learns from teacher layer round(i * N / M); the last from the last.

    Args:
        student_layers: M, at least 1.
        teacher_layers: N, at least M.

    References:
        Jiao et al. (2020), TinyBERT, arXiv 1909.10351: g(m) = m N / M when M divides N.
    """
    _check_depths(student_layers, teacher_layers)
    half = student_layers // 2  # rounds to the nearest, in integers
    pairs = tuple((i, (i * teacher_layers + half) // student_layers) for i in range(1, student_layers + 1))
    return LayerMap(student_layers=student_layers, teacher_layers=teacher_layers, pairs=pairs)


def last_map(student_layers: int, teacher_layers: int) -> LayerMap:
    """The student's layers learn from the teacher's last ones, one by one.

    References:
        Sun et al. (2019), Patient Knowledge Distillation for BERT, arXiv 1908.09355 (PKD-Last).
    """
    _check_depths(student_layers, teacher_layers)
    ahead = teacher_layers - student_layers
    pairs = tuple((i, i + ahead) for i in range(1, student_layers + 1))
    return LayerMap(student_layers=student_layers, teacher_layers=teacher_layers, pairs=pairs)


def explicit_map(student_layers: int, teacher_layers: int, pairs: Sequence[tuple[int, int]]) -> LayerMap:
    """Pairs chosen by hand; student layers that are left out learn nothing directly."""
    return LayerMap(
        student_layers=student_layers,
        teacher_layers=teacher_layers,
        pairs=tuple((int(mine), int(theirs)) for mine, theirs in pairs),
    )


def _check_depths(student_layers: int, teacher_layers: int) -> None:
    if not 1 <= student_layers <= teacher_layers:
        raise InputError(
            f"The student must have between 1 and the teacher's {teacher_layers} layers, got {student_layers}. "
            "Map a deeper student by hand with explicit_map()."
        )
