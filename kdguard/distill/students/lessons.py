"""Lessons: a question with answer and rationale, and the routes by which a student learns from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from kdguard.distill.corpora.example import Example
from kdguard.distill.students.data import Document
from kdguard.distill.students.documents import Pair, ask, documents_of_pairs, with_reasoning
from kdguard.errors import TrainingError

Route = Literal["answer", "reasoning", "step_by_step"]
ROUTES: tuple[Route, ...] = ("answer", "reasoning", "step_by_step")
LABEL_TASK = "[label] "
RATIONALE_TASK = "[rationale] "


@dataclass(frozen=True, slots=True)
class Lesson:
    """A question and what a teacher, or the corpus, says to it.

    Attributes:
        prompt: The question.
        answer: The answer alone.
        rationale: The reasoning, where there is one.
        system: System prompt.
        source: Whose words.
    """

    prompt: str
    answer: str
    rationale: str | None = None
    system: str | None = None
    source: str = "corpus"


def lesson_of(example: Example, source: str = "corpus") -> Lesson:
    """The lesson an example teaches."""
    return Lesson(example.prompt, example.response, example.rationale, None, source)


def documents_of_lessons(
    lessons: Sequence[Lesson], tokenizer: Any, *, route: Route = "answer", rationale_weight: float = 1.0
) -> list[Document]:
    """Documents by one route.

    `answer` teaches the answer alone, `reasoning` the rationale between marks and then the answer, `step_by_step` two
    tasks told apart by a prefix of the question: the answer, and the rationale. In the last each task is averaged
    by itself: the loss is (L_answer + w L_rationale) / (1 + w), whatever their lengths.

    Args:
        lessons: What to teach.
        tokenizer: The student's.
        route: Which of the three.
        rationale_weight: w of `step_by_step`, at least 0.

    Raises:
        TrainingError: An unknown route or a negative weight.

    References:
        Hsieh et al. (2023), Distilling Step-by-Step, arXiv 2305.02301.
    """
    if route not in ROUTES or rationale_weight < 0:
        raise TrainingError(f"route must be one of {', '.join(ROUTES)} and rationale_weight at least 0")
    if route == "step_by_step":
        return _two_tasks(lessons, tokenizer, rationale_weight)
    return documents_of_pairs(
        [
            Pair(
                ask(lesson.prompt, lesson.system),
                with_reasoning(lesson.rationale if route == "reasoning" else None, lesson.answer),
                lesson.source,
            )
            for lesson in lessons
        ],
        tokenizer,
    )


def _two_tasks(lessons: Sequence[Lesson], tokenizer: Any, rationale_weight: float) -> list[Document]:
    answers = documents_of_pairs(
        [
            Pair(ask(LABEL_TASK + lesson.prompt, lesson.system), lesson.answer, lesson.source)
            for lesson in lessons
        ],
        tokenizer,
    )
    rationales = documents_of_pairs(
        [
            Pair(ask(RATIONALE_TASK + lesson.prompt, lesson.system), lesson.rationale, lesson.source)
            for lesson in lessons
            if lesson.rationale
        ],
        tokenizer,
    )
    counts = [sum(np.count_nonzero(each.weights) for each in task) for task in (answers, rationales)]
    total = sum(counts)
    shares = [total / max(counts[0], 1), rationale_weight * total / max(counts[1], 1)]
    return [
        replace(document, weights=(document.weights * share).astype(np.float32))
        for task, share in zip((answers, rationales), shares, strict=True)
        for document in task
        if share
    ]
