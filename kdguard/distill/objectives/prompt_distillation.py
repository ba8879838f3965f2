"""Prompt distillation: a model with a document in its prompt teaches itself without it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from kdguard.distill.objectives.divergence import forward_kl
from kdguard.errors import InputError


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptPair:
    """One question and answer as the teacher reads it, with the document, and as the student does, without.

    Attributes:
        teacher_ids: Document, question, answer.
        student_ids: Question, answer.
        teacher_positions: Where the teacher's logits predict the answer's a tokens.
        student_positions: Where the student's logits predict them, pairwise the same tokens.
        target_ids: The answer's a tokens.
    """

    teacher_ids: tuple[int, ...]
    student_ids: tuple[int, ...]
    teacher_positions: tuple[int, ...]
    student_positions: tuple[int, ...]
    target_ids: tuple[int, ...]


def prompt_pair(document: Sequence[int], question: Sequence[int], answer: Sequence[int]) -> PromptPair:
    """Build the two readings of one example.

    Args:
        document: Tokens only the teacher sees: facts, a system prompt, few-shot examples. Template tokens around the
            document belong here; an empty document makes both readings equal.
        question: Tokens both see before the answer, at least one.
        answer: Tokens to learn, at least one; best written by the teacher with the document at hand, at a temperature
            that makes it vary.

    Raises:
        InputError: question or answer is empty.

    References:
        Kujanpaa et al. (2025), Efficient Knowledge Injection in LLMs via Self-Distillation, arXiv 2412.14964;
        Askell et al. (2021), arXiv 2112.00861 (context distillation).
    """
    if not question or not answer:
        raise InputError(
            f"A question and an answer of at least one token each are needed, got {len(question)} and {len(answer)}."
        )
    student = (*question, *answer)
    first = len(question) - 1
    places = range(first, first + len(answer))
    return PromptPair(
        teacher_ids=(*document, *student),
        student_ids=student,
        teacher_positions=tuple(len(document) + place for place in places),
        student_positions=tuple(places),
        target_ids=tuple(answer),
    )


def prompt_distillation(logits: Tensor, teacher_logits: Tensor, temperature: float = 1.0) -> Tensor:
    """T squared times KL(teacher that read the document || student that did not), at the answer's positions.

    Args:
        logits: Student's logits at `PromptPair.student_positions`, shape (n, v).
        teacher_logits: The same model's, with the document, at `PromptPair.teacher_positions`, shape (n, v). Taken
            as fixed: no gradient passes.
        temperature: T > 0.

    Returns:
        Shape (n,), nats times T squared; 0 once the document adds nothing.

    References:
        Kujanpaa et al. (2025), arXiv 2412.14964 (loss of prompt distillation); Askell et al. (2021).
    """
    return forward_kl(logits, teacher_logits.detach(), temperature)
