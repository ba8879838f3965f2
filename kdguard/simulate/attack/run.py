"""Run a recipe: plan, ask, keep, train, and tie it all together in one folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from kdguard.distill.teachers import budget as spending
from kdguard.distill.teachers.collect import Collected, collect
from kdguard.distill.transcripts.reader import Transcripts, read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import AttackError
from kdguard.simulate.attack.asks import asks_of, columns_of
from kdguard.simulate.attack.learn import Learnt, learn
from kdguard.simulate.attack.log import attack_log, benign_background
from kdguard.simulate.attack.manifest import manifest_of, price_of, write_manifest
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.rounds import Chooser, run_rounds
from kdguard.simulate.attack.stage import SECOND, make_plan, make_stage, make_tactics, prompt_source
from kdguard.simulate.attack.tactics.transform import describe
from kdguard.simulate.attack.teachers import Built, Routed, build_teacher
from kdguard.simulate.pools import Split
from kdguard.simulate.setting import DAY
from kdguard.simulate.traffic import Simulated
from kdguard.simulate.write import write_log

Say = Callable[[str, int, int], None]
"""Told a stage, how far it is, and how far it goes."""


@dataclass(frozen=True)
class Surroundings:
    """What a run takes from outside the recipe.

    Attributes:
        split: Which public texts and wordings may be used.
        data: Folder with real prompts; None uses the project's own texts.
        say: Hears how far the run is.
    """

    split: Split = "test"
    data: Path | None = None
    say: Say = field(default=lambda stage, done, total: None)


def run_attack(recipe: Recipe, out: Path, around: Surroundings | None = None) -> dict[str, Any]:
    """Run a recipe into a folder. A run that was interrupted goes on where it was, asking nothing twice.

    Args:
        recipe: What to do.
        out: Folder to write: the log that a detector scores, the truth about it, the transcripts' tokens, the student,
            and the manifest that ties them.
        around: Split, data folder and progress.

    Returns:
        The manifest. A folder that is complete is left as it is.

    Raises:
        AttackError: The folder holds the run of another recipe, or the attack brought home nothing.
        TeacherError: The teacher may not be asked.
        TranscriptError: The folder cannot be written, or was begun by another recipe.
    """
    around = around or Surroundings()
    if (done := finished(out, recipe)) is not None:
        return done
    if recipe.classifier is not None or recipe.teacher.kind == "classifier":
        from kdguard.simulate.attack.classifier_run import run_classifier

        return run_classifier(recipe, out, around)
    return _run_language(recipe, out, around)


def finished(out: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The manifest of a complete run of this recipe in the folder; None if there is none yet."""
    path = out / "manifest.json"
    if not path.is_file():
        return None
    manifest: dict[str, Any] = orjson.loads(path.read_bytes())
    if manifest.get("about", {}).get("recipe_digest") != recipe.digest:
        raise AttackError(f"{out}: holds the run of another recipe; choose another folder")
    return manifest if manifest.get("kind") == "attack" else None


def _run_language(recipe: Recipe, out: Path, around: Surroundings) -> dict[str, Any]:
    setting = make_stage(recipe, split=around.split, data=around.data)
    around.say("teacher", 0, 1)
    first = build_teacher(recipe.teacher, seed=recipe.seed, cache=out / "teacher")
    second = (
        build_teacher(recipe.second_teacher, seed=recipe.seed, cache=out / "second_teacher")
        if recipe.second_teacher is not None
        else None
    )
    vocabulary = len(first.tokenizer) if first.tokenizer is not None else None
    tactics = make_tactics(recipe, setting, vocabulary)
    plan = make_plan(recipe, setting, tactics)
    source = prompt_source(recipe, setting)
    with TranscriptWriter(out, about=about(recipe)) as writer:
        asking = _Asking(writer, _teacher(first, second, plan), recipe, first, around)
        chooser = Chooser(recipe, source, first.tokenizer)
        plan = run_rounds(plan, chooser, asking, lambda: read_transcripts(out))
        stopped_by = writer.seal(stopped_by=asking.stopped_by).get("stopped_by")
    transcripts = read_transcripts(out)
    learnt = _learn(recipe, out, plan, transcripts, first, around)
    simulated = _log(recipe, plan, transcripts.exchanges, tactics_text := describe(tactics))
    files = write_log(simulated, out)
    teachers = [first.about] + ([second.about] if second else [])
    manifest = manifest_of(
        recipe,
        plan,
        simulated,
        out=out,
        teachers=teachers,
        tactics=tactics_text,
        stopped_by=stopped_by,
        student=learnt.record if learnt else None,
        files=files,
    )
    return write_manifest(manifest, out)


def about(recipe: Recipe) -> dict[str, Any]:
    """What the transcripts say that they are of; another recipe cannot go on in the same folder."""
    return {"recipe": recipe.name, "recipe_digest": recipe.digest, "seed": recipe.seed}


class _Asking:
    """Asks requests of a plan, keeps the answers, and counts."""

    def __init__(
        self, writer: TranscriptWriter, teacher: Any, recipe: Recipe, built: Built, around: Surroundings
    ) -> None:
        self._writer, self._teacher, self._around = writer, teacher, around
        table = recipe.budget
        self._budget = spending.Budget(requests=table.requests, money=table.money)
        self._price = price_of(recipe)
        self._count = getattr(built.teacher, "count_tokens", None)
        self._total, self._before = table.requests, 0
        self.stopped_by: str | None = None

    def __call__(self, plan: Plan, places: Sequence[int]) -> None:
        if self._writer.is_sealed:
            return
        row = {plan.request_id[place]: place for place in places}
        found = collect(
            self._teacher,
            asks_of(plan, places),
            self._writer,
            budget=self._budget,
            price=self._price,
            count_tokens=self._count,
            columns=lambda ask: columns_of(plan, row[ask.request_id]),
            progress=self._say,
        )
        self.stopped_by = self.stopped_by or found.stopped_by
        self._before += found.asked + found.skipped

    def _say(self, state: Collected) -> None:
        self._around.say("asking", self._before + state.asked + state.skipped, self._total)


def _teacher(first: Built, second: Built | None, plan: Plan) -> Any:
    if second is None:
        return first.teacher
    to_second = (
        name for name, model in zip(plan.request_id, plan.calls.model, strict=True) if model == SECOND
    )
    return Routed(first.teacher, second.teacher, frozenset(to_second))


def _learn(
    recipe: Recipe, out: Path, plan: Plan, transcripts: Transcripts, teacher: Built, around: Surroundings
) -> Learnt | None:
    if recipe.student is None:
        return None
    from kdguard.distill.models import save_model

    around.say("student", 0, recipe.student.steps)
    learnt = learn(
        transcripts,
        plan,
        recipe.student,
        teacher_tokenizer=teacher.tokenizer,
        folder=out / "checkpoints",
        seed=recipe.seed,
        report=lambda now: around.say("student", now.step, now.steps),
    )
    save_model(learnt.model, learnt.tokenizer, out / "student", overwrite=True)
    return learnt


def _log(recipe: Recipe, plan: Plan, exchanges: pa.Table, tactics: str) -> Simulated:
    background = None
    if recipe.background is not None:
        length = int(np.ptp(plan.calls.time)) / DAY
        background = benign_background(recipe.background, plan.setting, max(1, round(length)), recipe.seed)
    return attack_log(
        exchanges, plan, tactics=tactics, name=f"{recipe.seed}/{recipe.name}", background=background
    )
