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
from kdguard.simulate.attack.asks import ask_of, columns_of
from kdguard.simulate.attack.classifiers.curve import ATTACKS, judge
from kdguard.simulate.attack.classifiers.digits import CLASSES, digits, train_victim
from kdguard.simulate.attack.classifiers.oracle import Floats, Oracle
from kdguard.simulate.attack.classifiers.student import Student, Training
from kdguard.simulate.attack.log import attack_log, benign_background
from kdguard.simulate.attack.manifest import manifest_of, write_manifest
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.rounds import fill
from kdguard.simulate.attack.stage import make_plan, make_stage, make_tactics
from kdguard.simulate.attack.tables import ClassifierTable, ClassifierTeacherTable
from kdguard.simulate.attack.tactics.transform import describe
from kdguard.simulate.attack.teachers import Built, build_teacher, weights_digest
from kdguard.simulate.write import write_log

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
    known = {"recipe": recipe.name, "recipe_digest": recipe.digest, "seed": recipe.seed}
    with TranscriptWriter(out, about=known) as writer:
        sender = Sender(plan, built, writer, around)
        oracle = Oracle(sender, classes=CLASSES, budget=len(plan), label_only=teacher.tell == "label")
        loot = ATTACKS[table.attack](oracle, data, training, recipe.seed + table.seed)
        writer.seal(stopped_by=None if oracle.left else "requests")
    around.say("student", 1, 1)
    victim = train_victim(data, teacher.victim, teacher.seed)
    point = judge(table.attack, loot, data, victim, oracle, recipe.seed)
    record = save_student(loot.student, training, out / "student") | {
        "attack": asdict(point),
        "training": asdict(training),
        "documents": {"teacher": len(loot.inputs), "corpus": 0},
        "dose": {"teacher_rows": len(loot.inputs), "teacher_share": 1.0},
    }
    background = (
        benign_background(recipe.background, setting, setting.days, recipe.seed)
        if recipe.background
        else None
    )
    exchanges = read_transcripts(out).exchanges
    name, text = f"{recipe.seed}/{recipe.name}", describe(tactics)
    simulated = attack_log(exchanges, sender.plan, tactics=text, name=name, background=background)
    files = write_log(simulated, out)
    manifest = manifest_of(
        recipe,
        sender.plan,
        simulated,
        out=out,
        teachers=[built.about],
        tactics=text,
        stopped_by="requests" if not oracle.left else None,
        student=record,
        files=files,
    )
    return write_manifest(manifest, out)


class Sender:
    """Sends rows of features as the next requests of a plan, and keeps the answers.

    A run that goes on finds the answers of the requests that were sent before; since an attack draws the same every
    time, they are the answers to the same rows.

    Attributes:
        plan: With the prompts sent so far.
    """

    def __init__(self, plan: Plan, built: Built, writer: TranscriptWriter, around: Surroundings) -> None:
        self.plan, self._teacher, self._writer, self._around = plan, built.teacher, writer, around
        self._next = 0
        done = writer.done_ids()
        rows = read_transcripts(writer.folder).exchanges.to_pylist() if done else []
        self._known = {row["request_id"]: _row(row["label"], row["label_probs"]) for row in rows}

    def __call__(self, inputs: Floats) -> Floats:
        """Shape (n, d) to what the API told, shape (n, classes)."""
        places = range(self._next, self._next + len(inputs))
        self._next += len(inputs)
        self.plan = fill(self.plan, places, [written(row) for row in inputs])
        asks = {ask.request_id: ask for ask in (ask_of(self.plan, place) for place in places)}
        place_of = {self.plan.request_id[place]: place for place in places}
        new = [ask for name, ask in asks.items() if name not in self._known]
        for answer in self._teacher.answer(new) if new else ():
            _check(answer)
            columns = columns_of(self.plan, place_of[answer.request_id])
            self._writer.append(asks[answer.request_id], [answer], **columns)
            told = [{"label": name, "prob": prob} for name, prob in answer.label_probs or ()]
            self._known[answer.request_id] = _row(answer.label, told)
        self._around.say("asking", self._next, len(self.plan))
        return np.array([self._known[name] for name in asks])


def _check(answer: Answer) -> None:
    if answer.label is None:
        raise AttackError(
            f"the classifier answered request {answer.request_id} with: {answer.error or 'no label'}"
        )


def _row(label: str | None, told: list[dict[str, Any]] | None) -> Floats:
    """Probabilities as told; what is left of 1 goes evenly to the classes that were not told."""
    found = np.full(CLASSES, np.nan)
    for one in told or ():
        found[int(one["label"])] = one["prob"]
    if label is not None and not told:
        found[int(label)] = 1.0
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
