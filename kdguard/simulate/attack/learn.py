"""What the thief does with the answers: documents, a student, and how much of it is the teacher's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.students.data import Document
from kdguard.distill.students.documents import (
    Pair,
    Soft,
    ask,
    documents_of_pairs,
    documents_of_transcripts,
    with_reasoning,
)
from kdguard.distill.students.packing import pack
from kdguard.distill.students.plan import Mix, Slot
from kdguard.distill.students.plan import Plan as Schedule
from kdguard.distill.students.shapes import named_shape
from kdguard.distill.students.tokenizer import fitted_vocab, special_ids, train_tokenizer
from kdguard.distill.students.training import train
from kdguard.errors import AttackError
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.tables import StudentTable
from kdguard.simulate.attack.tactics.cleaning import clean_answer
from kdguard.simulate.attack.teachers import weights_digest
from kdguard.simulate.attack.toy import pairs_of
from kdguard.simulate.seeds import stream

if TYPE_CHECKING:
    from kdguard.distill.students.fleet import Report
    from kdguard.distill.transcripts.reader import Transcripts


@dataclass(frozen=True, eq=False)
class Learnt:
    """A trained student.

    Attributes:
        model: A causal language model.
        tokenizer: Its tokenizer.
        record: For the manifest: digests, shape, objective, documents, dose.
    """

    model: Any
    tokenizer: Any
    record: dict[str, Any]


def learn(
    transcripts: Transcripts,
    plan: Plan,
    table: StudentTable,
    *,
    teacher_tokenizer: Any = None,
    folder: Path | None = None,
    seed: int = 0,
    report: Callable[[Report], None] | None = None,
) -> Learnt:
    """Train a student on the answers to the plan's attack requests.

    Args:
        transcripts: What was answered so far.
        plan: Which requests are attack, and which answers are to be cleaned.
        table: What the recipe says about the student.
        teacher_tokenizer: For `tokenizer = "teacher"`.
        folder: For checkpoints, removed at the end; None = none are written.
        seed: Added to the student's, and of the cleaning.
        report: Called at every report of the training.

    Raises:
        AttackError: Nothing usable was answered, or the teacher's tokenizer is not known.
        TrainingError: The training cannot go on.
    """
    tokenizer = _tokenizer(transcripts, table, teacher_tokenizer)
    documents = documents_of_plan(transcripts, plan, table, tokenizer, seed)
    if not documents:
        raise AttackError("no attack request has a usable answer: there is nothing to train a student on")
    stolen = len(documents)
    own = examples(world_of(table.own_world), table.own_examples, seed=table.seed)
    documents += documents_of_pairs(pairs_of(own), tokenizer)
    data = pack(documents, table.length)
    shape = named_shape(table.shape, vocab=fitted_vocab(tokenizer), context=max(1024, table.length))
    mix = mix_of(table)
    slot = Slot(name="student", data=data, mix=mix, seed=seed + table.seed, learning_rate=table.learning_rate)
    schedule = Schedule(steps=table.steps, rows=table.rows)
    fleet = train(shape, slot, schedule, device=table.device, folder=folder, report=report)
    if folder is not None and folder.exists():
        shutil.rmtree(folder)
    model = fleet.model(0, **special_ids(tokenizer))
    seen = dict(fleet.seen[0])
    total = sum(seen.values())
    from_corpus = seen.get("corpus", 0)
    record = {
        "digest": weights_digest(model),
        "run": fleet.run,
        "data": data.digest(),
        "shape": shape.record(),
        "objective": mix.record(),
        "schedule": schedule.record(),
        "seed": slot.seed,
        "documents": {"teacher": stolen, "corpus": len(documents) - stolen},
        "dose": {
            "unique_tokens": data.dose(),
            "seen_tokens": seen,
            "teacher_tokens": total - from_corpus,
            "teacher_share": (total - from_corpus) / total if total else 0.0,
        },
        "loss": fleet.history[-1][1][0] + fleet.history[-1][2][0],
    }
    return Learnt(model, tokenizer, record)


def mix_of(table: StudentTable) -> Mix:
    """The objective of a recipe as the training takes it."""
    if table.objective == "cross_entropy":
        return Mix()
    return Mix(text=table.text, soft=table.soft, temperature=table.temperature, objective=table.objective)


def documents_of_plan(
    transcripts: Transcripts, plan: Plan, table: StudentTable, tokenizer: Any, seed: int
) -> list[Document]:
    """Documents of the attack's answers; cleaned ones as text only, since no token of theirs is the teacher's."""
    attack = {name for name, hit in zip(plan.request_id, plan.attack.tolist(), strict=True) if hit}
    washed = {name for name, hit in zip(plan.request_id, plan.clean.tolist(), strict=True) if hit} & attack
    soft: Soft = "none" if table.objective == "cross_entropy" else "topk"
    kept = attack - washed
    found = documents_of_transcripts(
        transcripts, tokenizer, soft=soft, keep=lambda row: row["request_id"] in kept
    )
    return found + documents_of_pairs(_cleaned(transcripts, washed, seed), tokenizer)


def _cleaned(transcripts: Transcripts, washed: set[str], seed: int) -> list[Pair]:
    rng = stream(seed, "cleaning")
    wanted = ["request_id", "model", "status", "system", "prompt", "response", "reasoning"]
    return [
        Pair(
            ask(row["prompt"], row["system"]),
            clean_answer(with_reasoning(row["reasoning"], row["response"]), rng),
            row["model"] or "teacher",
        )
        for row in transcripts.exchanges.select(wanted).to_pylist()
        if row["request_id"] in washed and row["status"] == 200 and row["response"]
    ]


def _tokenizer(transcripts: Transcripts, table: StudentTable, teacher_tokenizer: Any) -> Any:
    if table.tokenizer == "teacher":
        if teacher_tokenizer is None:
            raise AttackError(
                "student.tokenizer = 'teacher' needs a teacher whose tokenizer is at hand; use 'own' for this one"
            )
        return teacher_tokenizer
    columns = (transcripts.exchanges[name].to_pylist() for name in ("prompt", "reasoning", "response"))
    texts = [text for row in zip(*columns, strict=True) for text in row if text]
    if not texts:
        raise AttackError("nothing was answered: there is no text to train a tokenizer on")
    return train_tokenizer(texts, table.vocabulary)
