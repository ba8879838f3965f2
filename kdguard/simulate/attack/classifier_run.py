"""Run an attack on a classifier: the attack chooses rows, the plan says when and from where they are sent."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.torch import save_file

from kdguard.distill.teachers.classifier import written
from kdguard.distill.teachers.protocol import Answer
from kdguard.distill.transcripts.reader import read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import AttackError
from kdguard.simulate.attack.classifiers.curve import ATTACKS, judge
from kdguard.simulate.attack.classifiers.digits import CLASSES, digits, train_victim
from kdguard.simulate.attack.classifiers.oracle import Floats, Oracle
from kdguard.simulate.attack.classifiers.student import Student, Training
from kdguard.simulate.attack.finish import about, finish
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.sender import Sender
from kdguard.simulate.attack.stage import make_plan, make_stage, make_tactics
from kdguard.simulate.attack.tables import ClassifierTable, ClassifierTeacherTable
from kdguard.simulate.attack.teachers import build_teacher, weights_digest

if TYPE_CHECKING:
    from kdguard.simulate.attack.run import Surroundings


def run_classifier(recipe: Recipe, out: Path, around: Surroundings) -> dict[str, Any]:
    """Run a recipe whose teacher is a classifier; see `kdguard.simulate.attack.run.run_attack`."""
    teacher, table = recipe.teacher, recipe.classifier or ClassifierTable()
    if not isinstance(teacher, ClassifierTeacherTable):
        raise AttackError("an attack on a classifier needs a teacher of kind 'classifier'")
    setting = make_stage(recipe, split=around.split, data=around.data)
    tactics = make_tactics(recipe, setting)
    plan = make_plan(recipe, setting, tactics)
    built = build_teacher(teacher, seed=recipe.seed)
    data = digits()
    training = Training(hidden=table.hidden, epochs=table.epochs)
    with TranscriptWriter(out, about=about(recipe)) as writer:
        sender = Sender(plan, built.teacher, writer, lambda done, total: around.say("asking", done, total))
        oracle = Oracle(
            lambda rows: np.array([_told(one) for one in sender([written(row) for row in rows])]),
            classes=CLASSES,
            budget=len(plan),
            label_only=teacher.tell == "label",
        )
        loot = ATTACKS[table.attack](oracle, data, training, recipe.seed + table.seed)
        writer.seal(stopped_by=None if oracle.left else "requests")
    around.say("student", 1, 1)
    victim = train_victim(data, teacher.victim, teacher.seed)
    point = judge(table.attack, loot, data, victim, oracle, recipe.seed)
    student = save_student(loot.student, training, out / "student") | {
        "attack": asdict(point),
        "training": asdict(training),
        "documents": {"teacher": len(loot.inputs), "corpus": 0},
        "dose": {"teacher_rows": len(loot.inputs), "teacher_share": 1.0},
    }
    return finish(
        recipe,
        out,
        sender.plan,
        read_transcripts(out).exchanges,
        tactics=tactics,
        teachers=[built.about],
        stopped_by=None if oracle.left else "requests",
        found={"student": student},
    )


def _told(answer: Answer) -> Floats:
    """Probabilities as told; what is left of 1 goes evenly to the classes that were not told."""
    if answer.label is None:
        raise AttackError(
            f"the classifier answered request {answer.request_id} with: {answer.error or 'no label'}"
        )
    found = np.full(CLASSES, np.nan)
    for label, probability in answer.label_probs or ((answer.label, 1.0),):
        found[int(label)] = probability
    untold = np.isnan(found)
    left = max(1 - float(np.nansum(found)), 0.0)
    found[untold] = left / untold.sum() if untold.any() else 0.0
    return np.asarray(found / found.sum(), np.float64)


def save_student(student: Student, training: Training, folder: Path) -> dict[str, Any]:
    """Write the stolen classifier as safetensors and JSON."""
    folder.mkdir(parents=True, exist_ok=True)
    weights = {name: value.detach().contiguous() for name, value in student.module.state_dict().items()}
    save_file(weights, folder / "model.safetensors")
    shape = {"kind": "classifier", "hidden": training.hidden, "classes": CLASSES, "features": 64}
    (folder / "config.json").write_text(json.dumps(shape, indent=2) + "\n", encoding="utf-8")
    return {"digest": weights_digest(student.module), "shape": shape}
