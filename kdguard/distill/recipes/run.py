"""Follow a recipe: read, ask, train, judge, and tie it all together in one folder.

The folder holds `student/`, `manifest.json`, `report.json` where the recipe asks for an evaluation, `control/` where it
asks for one, and `transcripts-N/` for what was asked. A complete manifest marks a complete run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from kdguard.distill.models import save_model
from kdguard.distill.procedures.beside import TeacherModel
from kdguard.distill.recipes import tables
from kdguard.distill.recipes.asked import ask_teacher
from kdguard.distill.recipes.control import control_student
from kdguard.distill.recipes.families import Family, family_of
from kdguard.distill.recipes.job import Job, plan_of
from kdguard.distill.recipes.judging import judge
from kdguard.distill.recipes.learning import Trained, learn
from kdguard.distill.recipes.material import Source, items_of, read_source
from kdguard.distill.recipes.models import Blank, blank_student, load_teachers
from kdguard.distill.recipes.recipe import Recipe
from kdguard.distill.students.fleet import Report
from kdguard.distill.versions import versions
from kdguard.errors import TrainingError
from kdguard.exchanges.whole import replaced

SCHEMA_VERSION = 1
WRITTEN = frozenset({"student", "interleaved", "self"})
"""Sources of text that came about during training; a teacher grades it."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Who hears how far a run is.

    Attributes:
        stage: Told a stage's name, how far it is, and how far it goes.
        report: Told how training goes.
    """

    stage: Callable[[str, int, int], None] = field(default=lambda name, done, total: None)
    report: Callable[[str, Report], None] = field(default=lambda name, report: None)


def train_recipe(recipe: Recipe, out: Path, listener: Listener | None = None) -> dict[str, Any]:
    """Run a recipe into a folder. A run that was interrupted goes on where it was.

    Args:
        recipe: What to do.
        out: Folder to write.
        listener: Hears of progress.

    Returns:
        The manifest. A folder that is complete is left as it is.

    Raises:
        TrainingError: The folder holds the run of another recipe, the recipe's parts do not go together, a loss is not
            finite, or a checkpoint cannot be used.
        OwnershipError: A look inside a teacher that nobody declared to own.
        ModelError: A model folder that is not safe to load.
        TranscriptError: Transcripts that cannot be read or written.
    """
    listener = listener or Listener()
    if (done := finished(out, recipe)) is not None:
        return done
    family = family_of(recipe.objective.name)
    listener.stage("models", 0, 1)
    teachers = load_teachers(recipe, family)
    listener.stage("models", 1, 1)
    sources = _sources(recipe, teachers, out, listener)
    texts = [text for source in sources for text in source.texts]
    blank = blank_student(recipe, teachers, texts)
    items = items_of(sources, blank.tokenizer, recipe.masks)
    trained = _trained(recipe, family, blank, items, teachers, out, listener)
    digest = save_model(trained.model, trained.tokenizer, out / "student", overwrite=True)
    dose = dose_of(trained, sources, family, recipe)
    manifest = _manifest(recipe, family, teachers, sources, trained, digest, dose)
    if recipe.evaluation is not None:
        control = control_student(recipe, blank, out, lambda report: listener.report("control", report))
        report = judge(recipe.evaluation, trained, teachers, control, dose, listener.stage)
        write_json(report, out / "report.json")
        manifest["report"] = "report.json"
    write_json(manifest, out / "manifest.json")
    shutil.rmtree(out / "checkpoints", ignore_errors=True)
    found: dict[str, Any] = orjson.loads((out / "manifest.json").read_bytes())
    return found


def finished(out: Path, recipe: Recipe) -> dict[str, Any] | None:
    """The manifest of a complete run of this recipe in the folder; None if there is none yet.

    Raises:
        TrainingError: The folder holds the run of another recipe, or of a later version.
    """
    path = out / "manifest.json"
    if not path.is_file():
        return None
    try:
        manifest: dict[str, Any] = orjson.loads(path.read_bytes())
        version, digest = manifest["schema_version"], manifest["recipe_digest"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise TrainingError(f"{path}: not the manifest of a training run; choose another folder") from error
    if version > SCHEMA_VERSION:
        raise TrainingError(f"{path}: schema_version must be at most {SCHEMA_VERSION}, got {version}")
    if digest != recipe.digest:
        raise TrainingError(f"{out}: holds the run of another recipe; choose another folder")
    return manifest


def write_json(value: Mapping[str, Any], path: Path) -> None:
    """Write a JSON file, whole or not at all.

    Raises:
        TrainingError: It cannot be written.
    """
    try:
        with replaced(path) as unfinished:
            unfinished.write_bytes(
                orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY) + b"\n"
            )
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written: {error.strerror or error}") from error


def _sources(recipe: Recipe, teachers: list[TeacherModel], out: Path, listener: Listener) -> list[Source]:
    def asked_at(place: int) -> Callable[[tables.AskedData], Path]:
        def asked(table: tables.AskedData) -> Path:
            folder = out / f"transcripts-{place}"
            return ask_teacher(
                table, teachers[0], folder, say=lambda done, total: listener.stage("asking", done, total)
            )

        return asked

    return [read_source(table, recipe.filters, asked_at(place)) for place, table in enumerate(recipe.data)]


def _trained(
    recipe: Recipe,
    family: Family,
    blank: Blank,
    items: list[Any],
    teachers: list[TeacherModel],
    out: Path,
    listener: Listener,
) -> Trained:
    job = Job(
        recipe,
        family,
        blank,
        items,
        teachers,
        out / "checkpoints" / "student",
        lambda report: listener.report("student", report),
    )
    return learn(job)


def dose_of(trained: Trained, sources: list[Source], family: Family, recipe: Recipe) -> dict[str, Any]:
    """How much of a teacher the student got.

    `teacher_tokens` are tokens whose words are a teacher's, `graded_tokens` those on which a teacher's logits or states
    were followed, whoever wrote them.
    """
    own = {
        table.source for table in recipe.data if isinstance(table, tables.CorpusData | tables.TextData)
    } | WRITTEN
    total = sum(trained.seen.values())
    theirs = sum(count for source, count in trained.seen.items() if source not in own)
    return {
        "queries": sum(source.queries for source in sources),
        "unique_tokens": dict(trained.described["unique_tokens"]),
        "seen_tokens": dict(trained.seen),
        "teacher_tokens": theirs,
        "teacher_share": theirs / total if total else 0.0,
        "graded_tokens": total if family.teachers else 0,
    }


def _manifest(
    recipe: Recipe,
    family: Family,
    teachers: list[TeacherModel],
    sources: list[Source],
    trained: Trained,
    digest: str,
    dose: Mapping[str, Any],
) -> dict[str, Any]:
    parents: list[dict[str, str | None]] = [{"name": one.name, "digest": one.digest} for one in teachers]
    known = {one.name for one in teachers}
    named = sorted({name for source in sources for name in source.teachers} - known)
    parents += [{"name": name, "digest": None} for name in named]
    return {
        "schema_version": SCHEMA_VERSION,
        "kind": "student",
        "versions": versions(),
        "recipe": recipe.as_written.model_dump(mode="json"),
        "recipe_digest": recipe.digest,
        "seeds": {"recipe": recipe.seed, "student": recipe.seed + recipe.student.seed},
        "parents": parents,
        "started_from": str(recipe.student.path.name) if recipe.student.path is not None else None,
        "ownership": recipe.ownership if family.owned else None,
        "data": [source.record() for source in sources],
        "student": {"digest": digest, "run": trained.run, "plan": plan_of(recipe).record()}
        | dict(trained.described),
        "dose": dict(dose),
        "history": [{"step": step, "text": text[0], "soft": soft[0]} for step, text, soft in trained.history],
    }
