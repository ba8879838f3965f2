"""Answers that a recipe asks its teacher for: prompts of a corpus, kept as transcripts; nothing is asked twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.procedures.beside import TeacherModel
from kdguard.distill.recipes.tables import AskedData
from kdguard.distill.students.documents import ask as turns
from kdguard.distill.students.tokenizer import conversation_ids
from kdguard.distill.teachers.collect import Collected, collect
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Answer, Ask, Teacher
from kdguard.distill.transcripts.draws import draw_soft_labels
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import TrainingError


def ask_teacher(
    table: AskedData,
    teacher: TeacherModel,
    folder: Path,
    *,
    say: Callable[[int, int], None] = lambda done, total: None,
) -> Path:
    """Ask what is not in the folder yet, and seal it.

    Args:
        table: What to ask.
        teacher: Whom.
        folder: For the transcripts.
        say: Told requests done and in all.

    Returns:
        The folder.

    Raises:
        TrainingError: Every request failed.
        TranscriptError: The folder cannot be written, or was begun for another table or teacher.
    """
    about = {"table": table.model_dump(mode="json"), "teacher": teacher.digest, "name": teacher.name}
    local = LocalTeacher(teacher.model, teacher.tokenizer, name=teacher.name, seed=table.seed)
    body: Teacher = Drawing(local, table.draws, table.seed) if table.soft == "sampled" else local
    asks = _asks(table)

    def progress(state: Collected) -> None:
        say(state.asked + state.skipped, len(asks))

    with TranscriptWriter(folder, about=about) as writer:
        if not writer.is_sealed:
            done = collect(body, asks, writer, progress=progress)
            if done.asked and done.failed == done.asked:
                raise TrainingError(f"the teacher '{teacher.name}' answered nothing: {done.first_error}")
            writer.seal()
    return folder


def _asks(table: AskedData) -> list[Ask]:
    found = examples(world_of(table.world), table.examples, seed=table.seed, kinds=table.tasks)
    top = {"none": None, "topk": table.top_logprobs, "sampled": 0}[table.soft]
    return [
        Ask(
            request_id=f"ask-{place:06d}",
            prompt=one.prompt,
            n=table.choices,
            temperature=table.temperature,
            max_tokens=table.max_tokens,
            top_logprobs=top,
        )
        for place, one in enumerate(found)
    ]


class Drawing:
    """A teacher of one's own that gives sampled soft labels: draws from its distribution at every token.

    Args:
        teacher: Answers.
        draws: Draws a token.
        seed: Of the draws; with the request and choice it fixes them.
    """

    def __init__(self, teacher: LocalTeacher, draws: int, seed: int) -> None:
        self.name, self.teacher, self.draws, self.seed = teacher.name, teacher, draws, seed

    def answer(self, asks: Sequence[Ask]) -> Iterator[Answer]:
        """Answer, and draw."""
        asked = {one.request_id: one for one in asks}
        for answer in self.teacher.answer(asks):
            yield self._drawn(asked[answer.request_id], answer)

    def _drawn(self, ask: Ask, answer: Answer) -> Answer:
        trace = answer.tokens
        if trace is None or trace.token_id is None or not len(trace):
            return answer
        tokenizer: Any = self.teacher.tokenizer
        prompt = conversation_ids(tokenizer, [turns(ask.prompt, ask.system)])[0]
        ids = torch.tensor([[*prompt, *trace.token_id.tolist()]])
        logits = self.teacher.score(ids)[0, len(prompt) - 1 : -1].cpu().numpy()
        key = hashlib.blake2b(f"{self.seed}/{answer.request_id}/{answer.choice}".encode(), digest_size=8)
        rng = np.random.default_rng(int.from_bytes(key.digest(), "little"))
        labels = draw_soft_labels(logits, self.draws, rng)
        drawn = replace(
            trace,
            top_ids=labels.ids,
            sampled_counts=labels.counts,
            top_logprobs=None,
            tail_mass=None,
            top_bytes=None,
        )
        return replace(answer, tokens=drawn)
