"""Train the models of one fleet: origins on corpora alone, all others on what their material says."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence

import torch

from kdguard.distill.fleets.harvest import harvest
from kdguard.distill.fleets.material import documents_of, origin_documents, packed
from kdguard.distill.fleets.recipe import Schedule
from kdguard.distill.fleets.roster import Member
from kdguard.distill.fleets.treatments import merged, pruned, quantised
from kdguard.distill.fleets.workshop import Workshop
from kdguard.distill.students.fleet import Report, train_fleet
from kdguard.distill.students.plan import Plan, Slot

_CHECKPOINT_EVERY = 100


def train_members(
    members: Sequence[Member],
    workshop: Workshop,
    everyone: Sequence[Member],
    *,
    device: str = "cpu",
    report: Callable[[Report], None] | None = None,
) -> None:
    """Train members together and keep them; interrupted, the next call goes on from the last checkpoint.

    Args:
        members: All origins, or none of them; those they need are made.
        workshop: Where.
        everyone: The whole roster.
        device: "cpu" or "cuda".
        report: Called at every report of the fleet.
    """
    torch.set_num_threads(1)
    recipe, tokenizer = workshop.recipe, workshop.tokenizer
    schedule: Schedule = recipe.origins if members[0].start is None else recipe.students
    slots = [_slot(member, workshop, everyone, tokenizer, schedule) for member in members]
    steps = max(slot.steps or 1 for slot in slots)
    plan = Plan(steps=steps, rows=schedule.rows, checkpoint_every=_CHECKPOINT_EVERY)
    names = "\n".join(member.name for member in members)
    folder = workshop.checkpoints(hashlib.blake2b(names.encode(), digest_size=8).hexdigest())
    fleet = train_fleet(workshop.shape(tokenizer), slots, plan, device=device, folder=folder, report=report)
    for place, (member, slot) in enumerate(zip(members, slots, strict=True)):
        notes = {
            "run": fleet.run,
            "data": slot.data.digest(),
            "documents_cut": slot.data.cut,
            "unique_tokens": slot.data.dose(),
            "seen_tokens": dict(fleet.seen[place]),
            "steps": slot.steps,
            "objective": slot.mix.record(),
            "loss": fleet.history[-1][1][place] + fleet.history[-1][2][place],
        }
        workshop.keep(member.name, fleet.state_dict(place), notes)
    shutil.rmtree(folder)


def fleets_of(members: Sequence[Member], size: int) -> list[list[Member]]:
    """Members of one generation that are to be trained, in fleets; who is in which depends on the recipe alone.

    A fleet is as slow as its slowest slot: teachers, lengths and soft targets go apart.
    """
    groups: dict[tuple[str, float, bool], list[Member]] = {}
    for member in members:
        if member.treatment is None:
            kind = member.role if member.start is None else "later"
            key = kind, member.length, member.route in ("topk", "mixed")
            groups.setdefault(key, []).append(member)
    return [group[at : at + size] for group in groups.values() for at in range(0, len(group), size)]


def treat(member: Member, workshop: Workshop) -> None:
    """Make a member that is an altered copy of another, and keep it."""
    assert member.start is not None
    weights = workshop.weights(member.start)
    if member.treatment == "int8":
        made = quantised(weights)
    elif member.treatment == "pruned":
        made = pruned(weights, member.amount or 0.0)
    else:
        assert member.beside is not None
        made = merged(weights, workshop.weights(member.beside), member.amount or 0.0)
    workshop.keep(member.name, made, {"treatment": member.treatment, "amount": member.amount})


def _slot(
    member: Member, workshop: Workshop, everyone: Sequence[Member], tokenizer: object, schedule: Schedule
) -> Slot:
    recipe = workshop.recipe
    if member.start is None:
        documents = origin_documents(member, recipe, tokenizer)
    else:
        by_name = {other.name: other for other in everyone}
        answers = {name: harvest(by_name[name], workshop) for name in member.asked}
        documents = documents_of(member, recipe, tokenizer, answers)
    data, mix = packed(member, documents, recipe.length)
    return Slot(
        name=member.name,
        data=data,
        mix=mix,
        seed=member.seed,
        learning_rate=schedule.learning_rate,
        steps=max(1, round(schedule.steps * member.length)),
        start=None if member.start is None else workshop.weights(member.start),
    )
