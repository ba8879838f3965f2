"""Candidates scored by the students trained so far, on the answers they would give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from kdguard.distill.students.documents import ask as turns_of
from kdguard.distill.students.tokenizer import conversation_ids
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Ask
from kdguard.simulate.attack.learn import Learnt
from kdguard.simulate.attack.selection.disagreement import jensen_shannon
from kdguard.simulate.attack.selection.uncertainty import SCORES, Floats

ANSWER_TOKENS = 12
"""Tokens of an answer that are looked at."""


def student_scores(
    method: str, students: Sequence[Learnt], prompts: Sequence[str], system: str | None = None
) -> Floats:
    """How much each prompt promises; shape (n,), larger is better.

    Args:
        method: An uncertainty score, averaged over the tokens of the first student's own answer, or `disagreement` of
            two students on the tokens of the first one's answer.
        students: One, or two of one vocabulary for `disagreement`.
        prompts: n candidates.
        system: System prompt.
    """
    told = answers_of(students[0], prompts, system, ANSWER_TOKENS)
    found = []
    for prompt, answer in zip(prompts, told, strict=True):
        seen = [_probabilities(student, prompt, system, answer) for student in students]
        if method == "disagreement":
            found.append(float(jensen_shannon(seen[0], seen[1]).mean()))
        else:
            found.append(float(SCORES[method](seen[0]).mean()))
    return np.array(found)


def answers_of(student: Learnt, prompts: Sequence[str], system: str | None, max_tokens: int) -> list[str]:
    """The student's likeliest answers; empty where it has none."""
    teacher = LocalTeacher(student.model, student.tokenizer, name="student")
    asks = [
        Ask(request_id=str(i), prompt=prompt, system=system, temperature=0.0, max_tokens=max_tokens)
        for i, prompt in enumerate(prompts)
    ]
    found: Mapping[str, str] = {one.request_id: one.response or "" for one in teacher.answer(asks)}
    return [found.get(str(i), "") for i in range(len(prompts))]


def _probabilities(student: Learnt, prompt: str, system: str | None, answer: str) -> Floats:
    """Next-token probabilities at the end of the prompt and along an answer, shape (t, vocab)."""
    tokenizer: Any = student.tokenizer
    (context,) = conversation_ids(tokenizer, [turns_of(prompt, system)])
    said: list[int] = tokenizer(answer, add_special_tokens=False)["input_ids"] if answer else []
    ids = torch.tensor([[*context, *said]])
    with torch.inference_mode():
        logits = student.model(input_ids=ids).logits[0, len(context) - 1 :]
    return np.asarray(logits.double().softmax(dim=-1).numpy(), np.float64)
