"""Everything about a student in one dictionary of plain numbers: likeness, ability, calibration, refusals, cost."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kdguard.distill.corpora.corpus import TASKS, examples
from kdguard.distill.corpora.example import Example
from kdguard.distill.corpora.worlds import world_of
from kdguard.distill.evaluate.agreement import agreement
from kdguard.distill.evaluate.efficiency import efficiency
from kdguard.distill.evaluate.judged import Answers, Judged, answers_of, items_for
from kdguard.distill.evaluate.outside import WORDS, prompts_outside
from kdguard.distill.evaluate.quality import answer_calibration, capability, perplexity, token_calibration
from kdguard.distill.evaluate.readings import Reading, gaps, has_same_vocabulary, read
from kdguard.distill.evaluate.refusals import refusals
from kdguard.distill.students.documents import documents_of_texts, with_reasoning
from kdguard.distill.students.lessons import lesson_of
from kdguard.distill.versions import versions
from kdguard.errors import InputError

SCHEMA_VERSION = 1
SINGLE = 20
"""Prompts asked one at a time for latencies."""
Say = Callable[[str, int, int], None]
_PLAIN = ("world", "examples", "max_tokens", "seed", "price_per_hour")


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """On what models are judged.

    Attributes:
        world: Of the prompts, and of the ground truth.
        tasks: In distribution.
        outside: Out of distribution: other tasks, or "words" for words without order. None = all tasks that are not in
            `tasks`, and words; empty = none.
        examples: Prompts of each kind: in distribution, out of it, and about refusals.
        max_tokens: Most tokens of an answer.
        texts: Further texts whose perplexity is told.
        price_per_hour: Of the machine.
        seed: Of prompts and bootstraps.
    """

    world: str = "aurora"
    tasks: tuple[str, ...] = tuple(TASKS)
    outside: tuple[str, ...] | None = None
    examples: int = 60
    max_tokens: int = 64
    texts: tuple[str, ...] = ()
    price_per_hour: float | None = None
    seed: int = 1

    def record(self) -> dict[str, Any]:
        """As plain values; texts by their number."""
        told = {name: getattr(self, name) for name in _PLAIN}
        tasks = {"tasks": list(self.tasks), "outside": list(self.tasks_outside)}
        return told | tasks | {"texts": len(self.texts)}

    @property
    def tasks_outside(self) -> tuple[str, ...]:
        """What is asked out of distribution."""
        if self.outside is not None:
            return self.outside
        return (*(task for task in TASKS if task not in self.tasks), WORDS)


@dataclass(eq=False)
class _Room:
    """Models, prompts and answers of one evaluation."""

    setting: Setting
    models: Mapping[str, Judged]
    say: Say
    answers: dict[tuple[str, str], Answers] = field(default_factory=dict)
    done: int = 0

    def prompts(self, which: str) -> list[Example]:
        """Prompts of the test split: `inside`, `outside` or `refusals`."""
        setting = self.setting
        if which == "outside":
            return prompts_outside(setting.world, setting.tasks_outside, setting.examples, setting.seed)
        kinds = ("refusals",) if which == "refusals" else setting.tasks
        return examples(
            world_of(setting.world), setting.examples, seed=setting.seed, split="test", kinds=kinds
        )

    def answer(self, role: str, which: str) -> Answers:
        """A model's answers, asked for once."""
        if (role, which) not in self.answers:
            found = answers_of(self.models[role], self.prompts(which), self.setting.max_tokens)
            self.answers[role, which] = found
            self.done += 1
            self.say("evaluating", self.done, 3 * len(self.models))
        return self.answers[role, which]


def evaluate(
    models: Sequence[Judged],
    setting: Setting,
    *,
    dose: Mapping[str, Any] | None = None,
    say: Say = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Judge a student, beside its teacher and an untaught control where they are given.

    Args:
        models: The student, and at most one of each other role.
        setting: On what.
        dose: From the student's manifest, for the queries that agreement cost.
        say: Told how far it is.

    Returns:
        The report: JSON values with `schema_version`. Parts that need a model which is not there are None.

    Raises:
        InputError: No student, two models of one role, or a world or task that does not exist.
    """
    by_role = {one.role: one for one in models}
    if "student" not in by_role or len(by_role) < len(models):
        raise InputError("an evaluation needs one student, and at most one teacher and one control")
    room = _Room(setting, by_role, say)
    inside = _agreement(room, "inside")
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "student_evaluation",
        "versions": versions(),
        "setting": setting.record(),
        "models": {role: one.record() for role, one in by_role.items()},
        "vocabulary": _vocabulary(by_role),
        "agreement": {
            "in_distribution": inside,
            "out_of_distribution": _agreement(room, "outside") if setting.tasks_outside else None,
        },
        "perplexity": _perplexity(room),
        "capability": {
            role: capability(room.prompts("inside"), room.answer(role, "inside").texts) for role in by_role
        },
        "calibration": _calibration(room),
        "refusals": refusals(
            room.prompts("refusals"),
            {role: room.answer(role, "refusals").texts for role in by_role},
            setting.seed,
        ),
        "efficiency": {role: _efficiency(room, role) for role in by_role},
        "dose": dict(dose) if dose is not None else None,
        "queries_per_point": _queries_per_point(dose, inside),
    }


def _vocabulary(models: Mapping[str, Judged]) -> str | None:
    """How the student's tokens are compared with the teacher's."""
    if "teacher" not in models:
        return None
    return "same" if has_same_vocabulary(models["teacher"], models["student"]) else "overlap"


def _agreement(room: _Room, which: str) -> dict[str, Any] | None:
    """Agreement with the teacher of every other model."""
    teacher = room.models.get("teacher")
    if teacher is None:
        return None
    prompts, theirs = room.prompts(which), room.answer("teacher", which).texts
    context = int(teacher.model.config.max_position_embeddings)
    items = items_for(teacher.tokenizer, prompts, theirs, context)
    return {
        role: agreement(
            prompts, theirs, room.answer(role, which).texts, gaps(teacher, other, items), room.setting.seed
        )
        for role, other in room.models.items()
        if role != "teacher"
    }


def right_answers(prompts: Sequence[Example]) -> list[str]:
    """What the world itself would say, reasoning included."""
    lessons = [lesson_of(one) for one in prompts]
    return [with_reasoning(one.rationale, one.answer) for one in lessons]


def _readings(room: _Room, role: str, texts: Sequence[str]) -> list[Reading | None]:
    """A model's readings of answers to the prompts in distribution."""
    judged = room.models[role]
    context = int(judged.model.config.max_position_embeddings)
    items = items_for(judged.tokenizer, room.prompts("inside"), texts, context)
    return read(judged, [None if item is None else item.document for item in items])


def _perplexity(room: _Room) -> dict[str, Any]:
    """On right answers, on the teacher's own, and on further texts."""
    kinds: dict[str, Sequence[str]] = {"corpus": right_answers(room.prompts("inside"))}
    if "teacher" in room.models:
        kinds["teacher_text"] = room.answer("teacher", "inside").texts
    found: dict[str, Any] = {
        kind: {
            role: perplexity(_readings(room, role, texts), texts, room.setting.seed) for role in room.models
        }
        for kind, texts in kinds.items()
    }
    if room.setting.texts:
        found["texts"] = {role: _of_texts(room, role) for role in room.models}
    return found


def _of_texts(room: _Room, role: str) -> dict[str, Any] | None:
    judged, texts = room.models[role], [text for text in room.setting.texts if text.strip()]
    context = int(judged.model.config.max_position_embeddings)
    documents = documents_of_texts(texts, judged.tokenizer)
    fitting = [one if len(one.tokens) <= context else None for one in documents]
    return perplexity(read(judged, fitting), texts, room.setting.seed)


def _calibration(room: _Room) -> dict[str, Any]:
    """Of next tokens on right answers, and of whole answers."""
    prompts = room.prompts("inside")
    right = right_answers(prompts)
    found = {}
    for role in room.models:
        texts = room.answer(role, "inside").texts
        found[role] = {
            "tokens": token_calibration(_readings(room, role, right)),
            "answers": answer_calibration(prompts, texts, _readings(room, role, texts)),
        }
    return found


def _efficiency(room: _Room, role: str) -> dict[str, Any]:
    return efficiency(
        room.models[role],
        room.prompts("inside")[:SINGLE],
        room.answer(role, "inside"),
        max_tokens=room.setting.max_tokens,
        price_per_hour=room.setting.price_per_hour,
    )


def _queries_per_point(
    dose: Mapping[str, Any] | None, inside: Mapping[str, Any] | None
) -> dict[str, Any] | None:
    """Requests a percentage point of top-1 agreement: of all of it, and of what lies above the control's."""
    if not dose or not dose.get("queries") or inside is None or inside["student"]["top_1"] is None:
        return None
    points = 100 * inside["student"]["top_1"]["value"]
    control = inside.get("control")
    above = points - 100 * control["top_1"]["value"] if control and control["top_1"] else None
    return {
        "queries": dose["queries"],
        "points": points,
        "of_agreement": dose["queries"] / points if points > 0 else None,
        "points_above_control": above,
        "of_agreement_above_control": dose["queries"] / above if above is not None and above > 0 else None,
    }
