"""What the thief does with the answers: documents, a student, and how much of it is the teacher's."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdguard.distill.corpora.corpus import examples
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.students.data import Document
from kdguard.distill.students.documents import Soft, documents_of_pairs, documents_of_transcripts
from kdguard.distill.students.lessons import Lesson, documents_of_lessons
from kdguard.distill.students.tokenizer import train_tokenizer
from kdguard.errors import AttackError
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.tables import StudentTable
from kdguard.simulate.attack.tactics.cleaning import clean_answer
from kdguard.simulate.attack.teachers import weights_digest
from kdguard.simulate.attack.toy import pairs_of
from kdguard.simulate.attack.training import ADVERSARIAL, train_student
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
    own = examples(world_of(table.own_world), table.own_examples, seed=table.seed)
    everything = documents + documents_of_pairs(pairs_of(own), tokenizer)
    trained = train_student(everything, tokenizer, table, seed + table.seed, folder=folder, report=report)
    if folder is not None and folder.exists():
        shutil.rmtree(folder)
    record = trained.record
    dose = _dose(record.pop("unique_tokens"), trained.seen)
    record |= {
        "digest": weights_digest(trained.model),
        "documents": {"teacher": len(documents), "corpus": len(own)},
        "dose": dose,
    }
    return Learnt(trained.model, tokenizer, record)


def _dose(unique: Mapping[str, int], seen: Mapping[str, int]) -> dict[str, Any]:
    """How many tokens were the teacher's, repetitions counted, and which share of all that is."""
    total, from_corpus = sum(seen.values()), seen.get("corpus", 0)
    return {
        "unique_tokens": dict(unique),
        "seen_tokens": dict(seen),
        "teacher_tokens": total - from_corpus,
        "teacher_share": (total - from_corpus) / total if total else 0.0,
    }


def documents_of_plan(
    transcripts: Transcripts, plan: Plan, table: StudentTable, tokenizer: Any, seed: int
) -> list[Document]:
    """Documents of the attack's answers; cleaned ones as text only, since no token of theirs is the teacher's.

    A route other than the answer behind its reasoning is made of texts, cleaned or not.
    """
    attack = {name for name, hit in zip(plan.request_id, plan.attack.tolist(), strict=True) if hit}
    washed = {name for name, hit in zip(plan.request_id, plan.clean.tolist(), strict=True) if hit} & attack
    if table.route != "reasoning":
        lessons = _lessons(transcripts, attack, washed, seed)
        return documents_of_lessons(
            lessons, tokenizer, route=table.route, rationale_weight=table.rationale_weight
        )
    kept = attack - washed
    found = documents_of_transcripts(
        transcripts, tokenizer, soft=_soft(table), keep=lambda row: row["request_id"] in kept
    )
    cleaned = _lessons(transcripts, washed, washed, seed)
    return found + documents_of_lessons(cleaned, tokenizer, route="reasoning")


def _soft(table: StudentTable) -> Soft:
    return "none" if table.objective in ("cross_entropy", ADVERSARIAL) else "topk"


def _lessons(transcripts: Transcripts, wanted: set[str], washed: set[str], seed: int) -> list[Lesson]:
    """Answers as questions, reasoning and answer; some of them washed of marks."""
    rng = stream(seed, "cleaning")
    columns = ["request_id", "model", "status", "system", "prompt", "response", "reasoning"]

    def as_learnt(row: dict[str, Any], text: str | None) -> str | None:
        return clean_answer(text, rng) if text and row["request_id"] in washed else text

    return [
        Lesson(
            row["prompt"],
            as_learnt(row, row["response"]) or "",
            as_learnt(row, row["reasoning"]),
            row["system"],
            row["model"] or "teacher",
        )
        for row in transcripts.exchanges.select(columns).to_pylist()
        if row["request_id"] in wanted and row["status"] == 200 and row["response"]
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
