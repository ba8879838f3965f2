"""From the parts of a recipe to a trained student: the fleet for recorded answers, the plain loop for all else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kdguard.distill.procedures.beside import TeacherModel
from kdguard.distill.procedures.loop import Outcome, Pace, run_loop
from kdguard.distill.procedures.part import Item, Procedure, shortened
from kdguard.distill.recipes.checks import mix_weights
from kdguard.distill.recipes.families import Family
from kdguard.distill.recipes.models import Blank, check_vocabulary
from kdguard.distill.recipes.recipe import Recipe
from kdguard.distill.students.fleet import Report
from kdguard.distill.students.packing import pack
from kdguard.distill.students.plan import Mix, Plan, Slot
from kdguard.distill.students.shapes import shape_of
from kdguard.distill.students.tokenizer import special_ids
from kdguard.distill.students.training import train
from kdguard.errors import TrainingError

DEFAULT_ANSWER = 64
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


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """Everything that training takes.

    Attributes:
        recipe: As read.
        family: Of its objective.
        blank: The student before training.
        items: What it learns from.
        teachers: Whom it learns from.
        folder: For checkpoints.
        report: Called at every report.
    """

    recipe: Recipe
    family: Family
    blank: Blank
    items: list[Item]
    teachers: list[TeacherModel]
    folder: Path
    report: Callable[[Report], None]

    @property
    def plan(self) -> Plan:
        """The recipe's plan."""
        return plan_of(self.recipe)

    @property
    def mix(self) -> Mix:
        """The recipe's objective; options of the procedure are not part of it."""
        table = self.recipe.objective
        text, soft = mix_weights(table)
        if not soft:
            return Mix(text=text)
        own = {name: value for name, value in table.options.items() if name not in self.family.options}
        return Mix(text=text, soft=soft, temperature=table.temperature, objective=table.name, options=own)

    def option(self, name: str, default: Any) -> Any:
        """An option of the procedure."""
        return self.recipe.objective.options.get(name, default)


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


def plan_of(recipe: Recipe) -> Plan:
    """The plan of a recipe as training takes it."""
    table = recipe.plan.model_dump()
    for name in ("learning_rate", "weight_decay", "device"):
        del table[name]
    return Plan(**table)


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
    data = pack([item.document for item in job.items], recipe.student.length)
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
    from kdguard.distill.procedures.beside import beside
    from kdguard.distill.procedures.text import text

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


def procedure_of(job: Job, student: Any, items: list[Item]) -> Procedure:
    """The procedure of the recipe's objective."""
    from kdguard.distill.procedures import beside, preferences, self_taught, text

    mix, plan, seed = job.mix, job.plan, job.blank.seed
    match job.family.kind:
        case "fleet":
            return text.text(student, items, plan, seed)
        case "beside":
            return beside.beside(student, items, job.teachers[0], mix, plan, seed)
        case "several":
            way = job.option("weighting", "mean")
            return beside.several(student, items, job.teachers, mix, plan, seed, way)
        case "moving_average":
            return self_taught.moving_average(
                student, items, mix, plan, seed, float(job.option("decay", 0.99))
            )
        case "internalise":
            document = str(job.option("document", ""))
            return self_taught.internalise(student, job.blank.tokenizer, items, document, mix, plan, seed)
        case "preferences":
            return preferences.preferences(student, items, mix, plan, seed)
        case "on_policy" | "speculative" | "adversarial":
            return _written(job, student, items)
        case _:
            return _further(job, student, items)


def _written(job: Job, student: Any, items: list[Item]) -> Procedure:
    """Procedures in which the student writes."""
    from kdguard.distill.procedures.adversarial import adversarial
    from kdguard.distill.procedures.on_policy import on_policy, speculative
    from kdguard.distill.procedures.writing import Writer, roomy

    mix, plan, seed, length = job.mix, job.plan, job.blank.seed, job.recipe.student.length
    writer = Writer(
        student,
        job.blank.tokenizer,
        length=length,
        max_tokens=int(job.option("max_tokens", DEFAULT_ANSWER)),
        temperature=float(job.option("write_temperature", 1.0)),
    )
    kept = roomy(items, writer.length)
    skip = ("max_tokens", "write_temperature")
    told = {name: value for name, value in job.recipe.objective.options.items() if name in job.family.options}
    told = {name: value for name, value in told.items() if name not in skip}
    if job.family.kind == "adversarial":
        return adversarial(student, kept, writer, mix, plan, seed, **told)
    way = on_policy if job.family.kind == "on_policy" else speculative
    return way(student, kept, job.teachers[0], writer, mix, plan, seed, **told)


def _further(job: Job, student: Any, items: list[Item]) -> Procedure:
    from kdguard.distill.procedures.cross_tokenizer import across_tokenizers
    from kdguard.distill.procedures.inside import inside, two_stages
    from kdguard.distill.procedures.labelled import labelled
    from kdguard.distill.procedures.peers import peers
    from kdguard.distill.whitebox.consent import consent_from

    mix, plan, seed, tokenizer = job.mix, job.plan, job.blank.seed, job.blank.tokenizer
    match job.family.kind:
        case "peers":
            count, device = int(job.option("peers", 2)), job.recipe.plan.device
            others = [job.blank.model(device=device, extra_seed=place) for place in range(1, count)]
            return peers([student, *others], items, mix, plan, seed)
        case "labelled":
            return labelled(student, tokenizer, items, mix, plan, seed)
        case "across_tokenizers":
            return across_tokenizers(student, tokenizer, items, job.teachers[0], mix, plan, seed)
        case "inside" | "two_stages":
            consent = consent_from(job.recipe.ownership)
            told = {
                name: value
                for name, value in job.recipe.objective.options.items()
                if name in job.family.options
            }
            way = inside if job.family.kind == "inside" else two_stages
            return way(student, items, job.teachers[0], mix, plan, seed, consent, **told)
        case _:
            raise TrainingError(f"no procedure of kind '{job.family.kind}'")


def _shape_record(model: Any) -> dict[str, Any]:
    try:
        return shape_of(model.config).record()
    except TrainingError:
        return {
            "model_type": model.config.model_type,
            "parameters": sum(p.numel() for p in model.parameters()),
        }


def _unique(items: list[Item]) -> dict[str, int]:
    from kdguard.distill.procedures.part import dose_of

    return dose_of([item.document for item in items])
