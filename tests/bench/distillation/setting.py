"""How large the experiment is."""

from __future__ import annotations

from dataclasses import dataclass

from kdguard.distill.students.shapes import Shape


@dataclass(frozen=True, slots=True)
class Setting:
    """Sizes of one controlled experiment.

    Attributes:
        vocab: Tokens of the shared tokenizer, at most.
        context: Tokens a row.
        teacher_width: Hidden width of the teachers, three layers.
        student_width: Hidden width of students and controls, two layers.
        teacher_steps: Optimiser steps of the teachers, on the answers of their worlds.
        examples: Answers that each teacher learns from.
        prompts: What the teacher is asked.
        tokens: Supervised tokens that every student and control learns from, repetitions counted.
        rows: Rows a step of the teachers.
        student_rows: Rows a student and step; few, so that a small dose still makes many steps.
        heldout: Prompts of the test split, answered by the teacher, on which all are compared with it.
        seeds: Students a kind.
        draws: Draws a position of the sampled soft labels.
    """

    vocab: int = 2_048
    context: int = 128
    teacher_width: int = 96
    student_width: int = 64
    teacher_steps: int = 200
    examples: int = 5_000
    prompts: int = 2_500
    tokens: int = 60_000
    rows: int = 16
    student_rows: int = 2
    heldout: int = 200
    seeds: int = 5
    draws: int = 42

    def teacher_shape(self, vocab: int) -> Shape:
        """Shape of the teachers."""
        heads = self.teacher_width // 32
        return Shape(hidden=self.teacher_width, layers=3, heads=heads, vocab=vocab, context=self.context)

    def student_shape(self, vocab: int) -> Shape:
        """Shape of students and controls."""
        heads = self.student_width // 32
        return Shape(hidden=self.student_width, layers=2, heads=heads, vocab=vocab, context=self.context)


SETTINGS = {
    "small": Setting(
        vocab=600,
        teacher_width=32,
        student_width=32,
        teacher_steps=20,
        examples=200,
        prompts=60,
        tokens=4_000,
        rows=4,
        heldout=20,
        seeds=2,
    ),
    "medium": Setting(
        vocab=1_024,
        teacher_width=64,
        student_width=32,
        teacher_steps=150,
        examples=3_000,
        prompts=1_500,
        tokens=32_000,
        heldout=150,
        seeds=3,
    ),
    "large": Setting(),
}
"""`small` shows nothing but that it runs; `medium` takes some three minutes of a core, `large` some ten (estimated)."""
