"""Make all models of a recipe, generation after generation, and read them; whatever is there already is kept."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import torch

from kdguard.distill.fleets.harvest import WITHHELD, harvest
from kdguard.distill.fleets.probes import Probe, Text, probes
from kdguard.distill.fleets.readings import full_text, read_model
from kdguard.distill.fleets.recipe import Recipe
from kdguard.distill.fleets.roster import ACCOUNTS, Member, generations, roster
from kdguard.distill.fleets.training import fleets_of, train_members, treat
from kdguard.distill.fleets.workshop import Workshop

Say = Callable[[str], None]
_READ_AT_ONCE = 8


def build(
    recipe: Recipe, folder: Path, *, workers: int = 1, device: str = "cpu", say: Say = print
) -> Workshop:
    """Make and read everything; killed at any moment, the next call goes on where this one was.

    Args:
        recipe: What to make.
        folder: Where; of this recipe alone.
        workers: Processes, one thread each; does not change the result. On a GPU one is enough.
        device: For training; models are always read on the CPU.
        say: Told of each piece of work that is done.

    Raises:
        TrainingError: The folder belongs to another recipe, or a training cannot go on.
    """
    workshop = Workshop(folder, recipe)
    workshop.open()
    everyone = roster(recipe)
    by_name = {member.name: member for member in everyone}
    run = partial(_all_of, workers=workers, say=say, workshop=workshop)
    for number, generation in enumerate(generations(everyone)):
        asked = sorted({name for member in generation if member.route for name in member.asked})
        run(f"answers, generation {number}", _harvest, [[by_name[name]] for name in asked])
        fleets = [
            fleet
            for fleet in fleets_of(generation, recipe.fleet)
            if not all(workshop.has(member.name) for member in fleet)
        ]
        run(f"fleets, generation {number}", partial(_train, device=device), fleets)
        for member in generation:
            if member.treatment is not None and not workshop.has(member.name):
                treat(member, workshop)
    teachers = [member for member in everyone if member.role == "teacher"]
    run("teachers read", _read_teacher, [[member] for member in teachers])
    waiting = [member for member in everyone if not _is_read(workshop, member)]
    parts = [waiting[at : at + _READ_AT_ONCE] for at in range(0, len(waiting), _READ_AT_ONCE)]
    run("models read", _read, parts)
    return workshop


def texts_of(workshop: Workshop) -> list[Text]:
    """The texts to rate: teachers' answers to the probes, and answers they served and withheld."""
    recipe = workshop.recipe
    made: list[Text] = []
    for family in recipe.origins.teachers:
        table = pq.read_table(_teacher_readings(workshop, family) / "responses.parquet").to_pylist()
        prompts = {probe.prompt_id: probe.prompt for probe in probes(recipe)}
        for row in table:
            told = full_text(row["response"], row["reasoning"])
            at = row["prompt_id"]
            made.append(Text(len(made), family, "probe", None, at, prompts[at], told))
        for owner, prompt, told in _dealt(workshop, family):
            if owner == WITHHELD:
                made.append(Text(len(made), family, "withheld", None, None, prompt, told))
            else:
                made.append(Text(len(made), family, "served", owner, None, prompt, told))
    return made


def _dealt(workshop: Workshop, family: str) -> Iterable[tuple[str, str, str]]:
    """Owner, prompt and answer of the first requests of every owner; their order was drawn, so any are alike."""
    recipe = workshop.recipe
    member = next(member for member in roster(recipe) if member.name == family)
    wanted = ["request_id", "prompt", "response", "reasoning"]
    rows = harvest(member, workshop).exchanges.select(wanted).to_pylist()
    for owner in (*ACCOUNTS[: recipe.harvest.accounts], WITHHELD):
        mine = [row for row in rows if row["request_id"].split("-")[0] == owner]
        for row in mine[: recipe.probes.texts]:
            yield owner, row["prompt"], full_text(row["response"], row["reasoning"])


def _is_read(workshop: Workshop, member: Member) -> bool:
    return workshop.readings(member.name).exists()


def _teacher_readings(workshop: Workshop, family: str) -> Path:
    return workshop.folder / "teachers" / family


def _all_of(
    what: str,
    work: Callable[..., None],
    parts: Sequence[Sequence[Member]],
    *,
    workers: int,
    say: Say,
    workshop: Workshop,
) -> None:
    """Do each part in a process of its own choosing; the first failure stops the rest."""
    began = time.monotonic()
    told = [(work, workshop, [member.name for member in part]) for part in parts]
    if workers == 1:
        for done, job in enumerate(told, 1):
            _do(*job)
            say(f"{what}: {done}/{len(told)}, {time.monotonic() - began:.0f} s")
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        jobs = [pool.submit(_do, *job) for job in told]
        for done, finished in enumerate(as_completed(jobs), 1):
            finished.result()
            say(f"{what}: {done}/{len(told)}, {time.monotonic() - began:.0f} s")


def _do(work: Callable[..., None], workshop: Workshop, names: Sequence[str]) -> None:
    torch.set_num_threads(1)
    everyone = roster(workshop.recipe)
    by_name = {member.name: member for member in everyone}
    work([by_name[name] for name in names], workshop, everyone)


def _harvest(members: Sequence[Member], workshop: Workshop, _: Sequence[Member]) -> None:
    for member in members:
        harvest(member, workshop)


def _train(members: Sequence[Member], workshop: Workshop, everyone: Sequence[Member], *, device: str) -> None:
    train_members(members, workshop, everyone, device=device)


def _read_teacher(members: Sequence[Member], workshop: Workshop, _: Sequence[Member]) -> None:
    """Teachers are read twice: first their answers alone, which the others are to rate."""
    for member in members:
        _read_into(workshop, member, [], _teacher_readings(workshop, member.name))


def _read(members: Sequence[Member], workshop: Workshop, _: Sequence[Member]) -> None:
    texts = texts_of(workshop)
    for member in members:
        _read_into(workshop, member, texts, workshop.readings(member.name))


def _read_into(workshop: Workshop, member: Member, texts: Sequence[Text], folder: Path) -> None:
    if folder.exists():
        return
    tokenizer: Any = workshop.tokenizer
    asked: Sequence[Probe] = probes(workshop.recipe)
    with workshop.appearing(folder) as draft:
        read_model(
            workshop.model(member.name, tokenizer),
            tokenizer,
            member.name,
            asked,
            texts,
            workshop.recipe,
            draft,
        )
