"""How a thief's student is trained: from recorded answers, or adversarially where these are text alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdguard.distill.recipes.families import family_of
from kdguard.distill.students.data import Document
from kdguard.distill.students.packing import pack_for
from kdguard.distill.students.plan import Mix, Slot
from kdguard.distill.students.plan import Plan as Schedule
from kdguard.distill.students.shapes import named_shape
from kdguard.distill.students.tokenizer import fitted_vocab, special_ids
from kdguard.distill.students.training import train
from kdguard.simulate.attack.tables import StudentTable

if TYPE_CHECKING:
    from kdguard.distill.students.fleet import Report

ADVERSARIAL = "gad"
_WRITING = ("max_tokens", "write_temperature")
_ANSWER_TOKENS = 64


@dataclass(frozen=True, eq=False)
class Trained:
    """A student, and how it came to be.

    Attributes:
        model: A causal language model.
        seen: Supervised tokens by source, repetitions counted.
        record: For the manifest: run, data, shape, objective, schedule, seed, loss.
    """

    model: Any
    seen: Mapping[str, int]
    record: dict[str, Any]


def train_student(
    documents: Sequence[Document],
    tokenizer: Any,
    table: StudentTable,
    seed: int,
    *,
    folder: Path | None = None,
    report: Callable[[Report], None] | None = None,
) -> Trained:
    """Train on documents.

    Args:
        documents: The teacher's, and the thief's own.
        tokenizer: The student's.
        table: What the recipe says about the student.
        seed: Of weights, order and draws.
        folder: For checkpoints; None = none are written.
        report: Called at every report of the training.

    Raises:
        TrainingError: The training cannot go on, or there are no soft targets where the objective needs them.
    """
    mix, schedule = mix_of(table), Schedule(steps=table.steps, rows=table.rows)
    data = pack_for(mix, documents, table.length)
    shape = named_shape(table.shape, vocab=fitted_vocab(tokenizer), context=max(1024, table.length))
    record = {
        "data": data.digest(),
        "shape": shape.record(),
        "objective": mix.record() | {"options": dict(table.options)},
        "schedule": schedule.record(),
        "seed": seed,
        "unique_tokens": data.dose(),
    }
    if table.objective == ADVERSARIAL:
        from kdguard.distill.procedures.loop import Pace, run_loop
        from kdguard.distill.recipes.models import Blank

        model = Blank(tokenizer, shape, seed).model(device=table.device)
        procedure = _adversarial(model, documents, tokenizer, table, seed)
        pace = Pace(learning_rate=table.learning_rate, seed=seed)
        told = run_loop(procedure, schedule, pace, folder=folder, report=report)
        seen, history, run, model = told.seen, told.history, told.run, model.cpu()
    else:
        slot = Slot(name="student", data=data, mix=mix, seed=seed, learning_rate=table.learning_rate)
        fleet = train(shape, slot, schedule, device=table.device, folder=folder, report=report)
        seen, history, run = fleet.seen[0], fleet.history, fleet.run
        model = fleet.model(0, **special_ids(tokenizer))
    _, text, soft = history[-1]
    return Trained(model, dict(seen), record | {"run": run, "loss": text[0] + soft[0]})


def mix_of(table: StudentTable) -> Mix:
    """The objective of a recipe as the training takes it."""
    if table.objective == "cross_entropy":
        return Mix()
    of_procedure = family_of(table.objective).options
    own = {name: value for name, value in table.options.items() if name not in of_procedure}
    return Mix(
        text=table.text,
        soft=table.soft,
        temperature=table.temperature,
        objective=table.objective,
        options=own,
    )


def _adversarial(
    model: Any, documents: Sequence[Document], tokenizer: Any, table: StudentTable, seed: int
) -> Any:
    """A discriminator as the judge of what the student writes to the same prompts."""
    from kdguard.distill.procedures.adversarial import adversarial
    from kdguard.distill.procedures.part import Item, shortened
    from kdguard.distill.procedures.writing import Writer, roomy

    writer = Writer(
        model,
        tokenizer,
        length=table.length,
        max_tokens=int(table.options.get("max_tokens", _ANSWER_TOKENS)),
        temperature=float(table.options.get("write_temperature", 1.0)),
    )
    items = roomy(shortened([Item(one) for one in documents], table.length), writer.length)
    told = {name: value for name, value in table.options.items() if name not in _WRITING}
    schedule = Schedule(steps=table.steps, rows=table.rows)
    return adversarial(model, items, writer, mix_of(table), schedule, seed, **told)
