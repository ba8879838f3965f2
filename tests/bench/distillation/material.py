"""Teachers, what they were asked and answered, and the documents that students and controls learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.example import Example
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.students.data import Document
from kdguard.distill.students.documents import documents_of_transcripts
from kdguard.distill.students.fleet import Fleet, train_fleet
from kdguard.distill.students.lessons import documents_of_lessons, lesson_of
from kdguard.distill.students.packing import pack
from kdguard.distill.students.plan import Plan, Slot
from kdguard.distill.students.tokenizer import fitted_vocab, special_ids, train_tokenizer
from kdguard.distill.teachers.collect import collect
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Ask
from kdguard.distill.transcripts.draws import draw_soft_labels
from kdguard.distill.transcripts.reader import Transcripts, read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from tests.bench.distillation.setting import Setting

TEACHER, OTHER = "aurora", "basalt"
TOP = 20
ANSWER_TOKENS = 48


@dataclass(frozen=True, slots=True)
class Teachers:
    """Two teachers of different worlds that share a tokenizer and a shape.

    Attributes:
        tokenizer: Of everybody.
        fleet: `TEACHER` and `OTHER`.
    """

    tokenizer: Any
    fleet: Fleet

    @property
    def vocab(self) -> int:
        """Rows of every embedding."""
        return self.fleet.shape.vocab

    def model(self, name: str) -> Any:
        """One teacher as a transformers model."""
        return self.fleet.model(name, **special_ids(self.tokenizer))


def train_teachers(setting: Setting, folder: Path) -> Teachers:
    """Train both teachers from nothing on the answers of their worlds, or go on where an earlier run stopped."""
    shown = {name: examples(world_of(name), setting.examples, seed=1) for name in (TEACHER, OTHER)}
    texts = [text for found in shown.values() for one in found for text in (one.prompt, one.response)]
    tokenizer = train_tokenizer(texts, setting.vocab, context=setting.context)
    slots = [
        Slot(name=name, seed=at, data=pack(documents_of(found, tokenizer), setting.context))
        for at, (name, found) in enumerate(shown.items())
    ]
    plan = Plan(steps=setting.teacher_steps, rows=setting.rows, checkpoint_every=50)
    shape = setting.teacher_shape(fitted_vocab(tokenizer))
    return Teachers(tokenizer, train_fleet(shape, slots, plan, folder=folder))


def documents_of(found: Sequence[Example], tokenizer: Any) -> list[Document]:
    """Documents that teach the answers of a world itself."""
    return documents_of_lessons([lesson_of(one) for one in found], tokenizer)


def ask(teachers: Teachers, name: str, found: Sequence[Example], folder: Path) -> Transcripts:
    """Ask one teacher at temperature 1, as a customer would, and keep what an API tells: text and top-20.

    What an earlier run has asked is not asked again.
    """
    teacher = LocalTeacher(teachers.model(name), teachers.tokenizer, name=name, rows=32)
    asks = [
        Ask(request_id=f"{at:06d}", prompt=one.prompt, top_logprobs=TOP, max_tokens=ANSWER_TOKENS, seed=at)
        for at, one in enumerate(found)
    ]
    with TranscriptWriter(folder) as writer:
        collect(teacher, asks, writer)
        writer.seal()
    return read_transcripts(folder)


def answers(told: Transcripts, teachers: Teachers) -> list[Document]:
    """Answers as documents with their top-k soft targets; an answer of marks that no text holds is left out."""
    made = documents_of_transcripts(told, teachers.tokenizer, soft="topk")
    return [document for document in made if document.soft is not None]


def draw(told: Transcripts, teachers: Teachers, name: str, folder: Path, draws: int) -> float:
    """Write the same answers with the sampled soft labels that a teacher's owner can keep.

    Returns:
        Mean entropy of the teacher at their tokens, nats.
    """
    rng = np.random.default_rng(0)
    documents = documents_of_transcripts(told, teachers.tokenizer, soft="topk")
    rows = {(row["request_id"], row["choice"]): row for row in told.exchanges.to_pylist()}
    entropies, model = [], teachers.model(name)
    with TranscriptWriter(folder) as writer:
        for (request_id, choice, trace), document in zip(told.tokens, documents, strict=True):
            if document.soft_at is None:
                continue
            logprobs = _logprobs(model, document)
            entropies.append(-(np.exp(logprobs) * logprobs).sum(1))
            ids, counts = draw_soft_labels(logprobs, draws, rng)
            kept = replace(trace, top_ids=ids, sampled_counts=counts, top_logprobs=None, tail_mass=None)
            if not writer.is_sealed:
                writer.append_rows([rows[request_id, choice]], [kept])
        writer.seal()
    return float(np.concatenate(entropies).mean())


@torch.no_grad()
def _logprobs(model: Any, document: Document) -> Any:
    """The teacher's log-probabilities (t, v) where a document has soft targets."""
    assert document.soft_at is not None
    before = torch.from_numpy(document.soft_at - 1).long()
    logits = model(torch.from_numpy(document.tokens[None]).long()).logits[0, before]
    return logits.double().log_softmax(-1).numpy()
