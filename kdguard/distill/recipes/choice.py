"""From a recipe's objective to the procedure that trains it."""

from __future__ import annotations

from typing import Any

from kdguard.distill.procedures import beside, preferences, self_taught, text
from kdguard.distill.procedures.adversarial import adversarial
from kdguard.distill.procedures.cross_tokenizer import across_tokenizers
from kdguard.distill.procedures.inside import inside
from kdguard.distill.procedures.labelled import labelled
from kdguard.distill.procedures.on_policy import on_policy, speculative
from kdguard.distill.procedures.part import Item, Procedure
from kdguard.distill.procedures.peers import peers
from kdguard.distill.procedures.two_stages import two_stages
from kdguard.distill.procedures.writing import Writer, roomy
from kdguard.distill.recipes.job import Job
from kdguard.distill.whitebox.consent import consent_from
from kdguard.errors import TrainingError

DEFAULT_ANSWER = 64
"""Most tokens that a student writes, unless the recipe says otherwise."""
OF_THE_WRITER = ("max_tokens", "write_temperature")


def procedure_of(job: Job, student: Any, items: list[Item]) -> Procedure:
    """The procedure of the recipe's objective."""
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
    mix, plan, seed, length = job.mix, job.plan, job.blank.seed, job.recipe.student.length
    writer = Writer(
        student,
        job.blank.tokenizer,
        length=length,
        max_tokens=int(job.option("max_tokens", DEFAULT_ANSWER)),
        temperature=float(job.option("write_temperature", 1.0)),
    )
    kept, told = roomy(items, writer.length), job.options(without=OF_THE_WRITER)
    if job.family.kind == "adversarial":
        return adversarial(student, kept, writer, mix, plan, seed, **told)
    way = on_policy if job.family.kind == "on_policy" else speculative
    return way(student, kept, job.teachers[0], writer, mix, plan, seed, **told)


def _further(job: Job, student: Any, items: list[Item]) -> Procedure:
    """Procedures with peers, labels, another tokenizer, or a look inside."""
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
            way = inside if job.family.kind == "inside" else two_stages
            return way(student, items, job.teachers[0], mix, plan, seed, consent, **job.options())
        case _:
            raise TrainingError(f"no procedure of kind '{job.family.kind}'")
