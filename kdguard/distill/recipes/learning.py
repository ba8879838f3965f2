"""From the parts of a recipe to a trained student: the fleet for recorded answers, the plain loop for all else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdguard.distill.procedures.beside import TeacherModel, beside
from kdguard.distill.procedures.loop import Outcome, Pace, run_loop
from kdguard.distill.procedures.part import Item, Procedure, dose_of, shortened
from kdguard.distill.procedures.text import text
from kdguard.distill.recipes.choice import procedure_of
from kdguard.distill.recipes.job import Job
from kdguard.distill.recipes.models import check_vocabulary
from kdguard.distill.students.packing import pack_for
from kdguard.distill.students.plan import Slot
from kdguard.distill.students.shapes import shape_of
from kdguard.distill.students.tokenizer import special_ids
from kdguard.distill.students.training import train
from kdguard.errors import TrainingError

SAME_VOCABULARY = frozenset({"beside", "several", "on_policy", "speculative", "inside", "two_stages"})


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """A student, and how it came to be.

    Attributes:
        model: Of transformers, on the CPU.
        tokenizer: Its tokenizer.
        seen: Supervised tokens by source, repetitions counted.
        history: Step, text losses and soft losses at every report.
        run: Digest of what was trained how.
        described: For the manifest: objective, plan, shape, seed.
    """

    model: Any
    tokenizer: Any
    seen: Mapping[str, int]
    history: tuple[tuple[int, tuple[float, ...], tuple[float, ...]], ...]
    run: str
    described: Mapping[str, Any]


def learn(job: Job) -> Trained:
    """Train the student of a recipe; an interrupted run goes on where it was.

    Raises:
        TrainingError: Parts that do not go together, a loss that is not finite, or an unusable checkpoint.
        OwnershipError: A look inside a teacher that nobody declared to own.
    """
    if job.family.kind in SAME_VOCABULARY:
        check_vocabulary(job.blank.tokenizer, job.teachers, job.recipe.objective.name)
    if job.family.kind == "fleet" and (job.blank.shape is not None or _is_plain(job)):
        return _fleet(job)
    if job.family.kind == "born_again":
        return _generations(job)
    student = job.blank.model(device=job.recipe.plan.device, eager=job.family.eager)
    return _looped(job, student, procedure_of(job, student, _fitting(job)), job.folder)


def _fitting(job: Job) -> list[Item]:
    return shortened(job.items, job.recipe.student.length)


def _is_plain(job: Job) -> bool:
    """Whether the student's folder holds a Llama that the fleet can train."""
    try:
        shape_of(job.blank.model(device="cpu").config)
    except TrainingError:
        if job.mix.soft:
            raise
        return False
    return True


def _fleet(job: Job) -> Trained:
    recipe, blank = job.recipe, job.blank
    data = pack_for(job.mix, [item.document for item in job.items], recipe.student.length)
    start, shape = None, blank.shape
    if shape is None:
        model = blank.model(device="cpu")
        start, shape = model.state_dict(), shape_of(model.config)
    slot = Slot(
        name="student",
        data=data,
        mix=job.mix,
        seed=blank.seed,
        learning_rate=recipe.plan.learning_rate,
        weight_decay=recipe.plan.weight_decay,
        start=start,
    )
    fleet = train(shape, slot, job.plan, device=recipe.plan.device, folder=job.folder, report=job.report)
    described = {
        "engine": "fleet",
        "shape": shape.record(),
        "objective": job.mix.record(),
        "data": data.digest(),
        "unique_tokens": data.dose(),
        "cut_documents": data.cut,
    }
    model = fleet.model(0, **special_ids(blank.tokenizer))
    return Trained(model, blank.tokenizer, fleet.seen[0], fleet.history, fleet.run, described)


def _looped(job: Job, student: Any, procedure: Procedure, folder: Path) -> Trained:
    table = job.recipe.plan
    pace = Pace(learning_rate=table.learning_rate, weight_decay=table.weight_decay, seed=job.blank.seed)
    told: Outcome = run_loop(procedure, job.plan, pace, folder=folder, report=job.report)
    described = {
        "engine": "loop",
        "shape": _shape_record(student),
        "objective": job.mix.record() | {"procedure": dict(procedure.described)},
        "unique_tokens": _unique(job.items),
    }
    return Trained(student.cpu(), job.blank.tokenizer, told.seen, told.history, told.run, described)


def _generations(job: Job) -> Trained:
    """Born-again: a generation on text, unless there is a teacher, and then each taught by the one before."""
    items, count = _fitting(job), int(job.option("generations", 1))
    if count < 1:
        raise TrainingError(f"objective.options.generations must be at least 1, got {count}")
    teacher = job.teachers[0] if job.teachers else None
    if teacher is not None:
        check_vocabulary(job.blank.tokenizer, job.teachers, "born_again")
    done: Trained | None = None
    for generation in range(count if teacher is not None else count + 1):
        student = job.blank.model(device=job.recipe.plan.device, extra_seed=generation)
        seed = job.blank.seed + generation
        procedure = (
            text(student, items, job.plan, seed)
            if teacher is None
            else beside(student, items, teacher, job.mix, job.plan, seed)
        )
        done = _looped(job, student, procedure, job.folder / f"generation-{generation}")
        student.to(job.recipe.plan.device).requires_grad_(False)
        teacher = TeacherModel(f"generation-{generation}", student, job.blank.tokenizer, done.run)
    assert done is not None
    return done


def _shape_record(model: Any) -> dict[str, Any]:
    try:
        return shape_of(model.config).record()
    except TrainingError:
        return {
            "model_type": model.config.model_type,
            "parameters": sum(p.numel() for p in model.parameters()),
        }


def _unique(items: list[Item]) -> dict[str, int]:
    return dose_of([item.document for item in items])
