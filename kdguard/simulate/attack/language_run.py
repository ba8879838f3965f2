"""Run an attack on a language model: plan, ask, keep, train."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdguard.distill.transcripts.reader import Transcripts, read_transcripts
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.simulate.attack.asking import Asking
from kdguard.simulate.attack.chooser import Chooser
from kdguard.simulate.attack.finish import about, finish
from kdguard.simulate.attack.learn import Learnt, learn
from kdguard.simulate.attack.log import of_plan
from kdguard.simulate.attack.plan import Plan
from kdguard.simulate.attack.recipe import Recipe
from kdguard.simulate.attack.rounds import run_rounds
from kdguard.simulate.attack.stage import SECOND, make_plan, make_stage, make_tactics, prompt_source
from kdguard.simulate.attack.teachers import Built, Routed, asked_by, build_teacher

if TYPE_CHECKING:
    from kdguard.distill.teachers.protocol import Teacher
    from kdguard.simulate.attack.run import Surroundings


def run_language(recipe: Recipe, out: Path, around: Surroundings) -> dict[str, Any]:
    """Run a recipe whose teacher is a language model; see `kdguard.simulate.attack.run.run_attack`."""
    setting = make_stage(recipe, split=around.split, data=around.data)
    around.say("teacher", 0, 1)
    first = build_teacher(recipe.teacher, seed=recipe.seed, cache=out / "teacher")
    built = [first]
    if recipe.second_teacher is not None:
        built.append(build_teacher(recipe.second_teacher, seed=recipe.seed, cache=out / "second_teacher"))
    vocabulary = len(first.tokenizer) if first.tokenizer is not None else None
    tactics = make_tactics(recipe, setting, vocabulary)
    plan = make_plan(recipe, setting, tactics)
    source = prompt_source(recipe, setting)
    accounts = [one.account_id for one in plan.identities]
    with asked_by(accounts, built) as asked, TranscriptWriter(out, about=about(recipe)) as writer:
        asking = Asking(
            writer, _routed(asked, plan), recipe, lambda done, total: around.say("asking", done, total)
        )
        chooser = Chooser(recipe, source, first.tokenizer)
        plan = run_rounds(plan, chooser, asking, lambda now: told_of(out, now))
        stopped_by = writer.seal(stopped_by=asking.stopped_by).get("stopped_by")
    told = told_of(out, plan)
    learnt = _learn(recipe, out, plan, told, first, around)
    return finish(
        recipe,
        out,
        plan,
        told.exchanges,
        tactics=tactics,
        teachers=[one.about for one in built],
        stopped_by=stopped_by,
        found={"student": learnt.record} if learnt else {},
    )


def told_of(out: Path, plan: Plan) -> Transcripts:
    """What was answered to the plan's requests; benign rows of a log that is there already are left out."""
    told = read_transcripts(out)
    return replace(told, exchanges=of_plan(told.exchanges, plan))


def _routed(teachers: Sequence[Teacher], plan: Plan) -> Teacher:
    """The only teacher, or two of which the second gets the requests that the plan says."""
    if len(teachers) == 1:
        return teachers[0]
    to_second = (
        name for name, model in zip(plan.request_id, plan.calls.model, strict=True) if model == SECOND
    )
    first, second = teachers
    return Routed(first, second, frozenset(to_second))


def _learn(
    recipe: Recipe, out: Path, plan: Plan, told: Transcripts, teacher: Built, around: Surroundings
) -> Learnt | None:
    if recipe.student is None:
        return None
    from kdguard.distill.models import save_model

    around.say("student", 0, recipe.student.steps)
    learnt = learn(
        told,
        plan,
        recipe.student,
        teacher_tokenizer=teacher.tokenizer,
        folder=out / "checkpoints",
        seed=recipe.seed,
        report=lambda now: around.say("student", now.step, now.steps),
    )
    save_model(learnt.model, learnt.tokenizer, out / "student", overwrite=True)
    return learnt
