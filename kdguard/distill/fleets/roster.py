"""Who a recipe makes: every model with its parents, by name, before any of them exists."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import Any, Literal

import numpy as np

from kdguard.distill.fleets.recipe import Recipe, Route

Role = Literal["teacher", "base", "student", "grandstudent", "derived", "treated", "tainted", "control"]
Treatment = Literal["int8", "pruned", "merged"]
ACCOUNTS = "abcdefgh"
FIRST_WORLD = 1000
"""Worlds of students and controls are numbered from here, those of bases below."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One model.

    Attributes:
        name: Unique.
        role: `derived` starts from a teacher's weights, `treated` is a student after what thieves do next, `tainted`
            learnt the truth of a teacher's corpus without the teacher.
        families: Teachers it descends from; for a tainted model, whose corpus it learnt.
        start: Model whose weights it starts from; None = fresh ones.
        asked: Models whose answers it learns from.
        route: How it takes the answers.
        dose: Share of its tokens that are theirs.
        account: Whose answers.
        world: Drawn world it learns from besides; None = none.
        length: Of its training, as a share of a student's.
        treatment: Instead of training.
        amount: Share pruned, or share of `start` in the mean with `beside`.
        beside: The other model of a mean.
        seed: Of its data's order, and of fresh weights.
    """

    name: str
    role: Role
    families: tuple[str, ...] = ()
    start: str | None = None
    asked: tuple[str, ...] = ()
    route: Route | Literal["truth"] | None = None
    dose: float = 0.0
    account: str | None = None
    world: int | None = None
    length: float = 1.0
    treatment: Treatment | None = None
    amount: float | None = None
    beside: str | None = None
    seed: int = 0

    @property
    def needs(self) -> tuple[str, ...]:
        """Models that must exist before it can be made."""
        answered = () if self.route == "truth" else self.asked
        return tuple(name for name in (self.start, self.beside, *answered) if name is not None)

    def record(self) -> dict[str, Any]:
        """As plain values, for manifests."""
        return asdict(self)


def roster(recipe: Recipe) -> tuple[Member, ...]:
    """All models of a recipe, each after those it needs."""
    return tuple(
        _numbered(
            recipe,
            [
                *_origins(recipe),
                *_controls(recipe),
                *_students(recipe),
                *_pairs(recipe),
                *_tainted(recipe),
                *_derived(recipe),
                *_grandstudents(recipe),
                *_treated(recipe),
            ],
        )
    )


def generations(members: tuple[Member, ...]) -> list[list[Member]]:
    """Members by how many others must be made before them, one after the other."""
    depth: dict[str, int] = {}
    for member in members:
        depth[member.name] = 1 + max((depth[name] for name in member.needs), default=-1)
    return [
        [member for member in members if depth[member.name] == at] for at in range(max(depth.values()) + 1)
    ]


def percent(share: float) -> str:
    """A share as it stands in names: 100, 25, 5."""
    return f"{share * 100:g}"


def _numbered(recipe: Recipe, members: list[Member]) -> Iterator[Member]:
    """Give every member its seed, and its base, account, world and partner where it has one.

    Students that differ in their route only share all of these, so that routes can be compared in pairs.
    """
    rng = np.random.default_rng([recipe.seed, 1])
    done: dict[str, Member] = {}
    twins: dict[str, tuple[int, int, int]] = {}
    for number, member in enumerate(members):
        drawn = number, int(rng.integers(1 << 31)), int(rng.integers(1 << 31))
        if member.role == "student":
            drawn = twins.setdefault(member.name.replace(f"-{member.route}-", "-"), drawn)
        done[member.name] = _settled(member, *drawn, recipe, done)
        yield done[member.name]


def _settled(
    member: Member, place: int, seed: int, draw: int, recipe: Recipe, done: Mapping[str, Member]
) -> Member:
    told: dict[str, Any] = {"seed": seed}
    if member.role not in ("teacher", "base") and member.start is None:
        told["start"] = f"base-{place % recipe.origins.bases + 1}"
    if member.asked:
        accounts = 1 if member.role == "grandstudent" else recipe.harvest.accounts
        told["account"] = ACCOUNTS[draw % accounts]
    if member.dose < 1 and member.treatment is None and member.role not in ("teacher", "base"):
        told["world"] = FIRST_WORLD + place
    if member.treatment == "merged" and member.start is not None:
        base = done[member.start].start
        kin = [other.name for other in done.values() if other.role == "control" and other.start == base]
        told["beside"] = kin[draw % len(kin)]
    return replace(member, **told)


def _origins(recipe: Recipe) -> Iterator[Member]:
    for name in recipe.origins.teachers:
        yield Member(name=name, role="teacher", families=(name,))
    for number in range(recipe.origins.bases):
        yield Member(name=f"base-{number + 1}", role="base")


def _controls(recipe: Recipe) -> Iterator[Member]:
    for number in range(recipe.controls):
        yield Member(name=f"control-{number + 1:03d}", role="control")


def _students(recipe: Recipe) -> Iterator[Member]:
    table = recipe.students
    for teacher in recipe.origins.teachers:
        for route in table.routes:
            for dose in table.doses:
                yield _student(f"{teacher}-{route}-{percent(dose)}", teacher, route, dose)
        for route in table.repeated:
            for again in range(table.repeats):
                yield _student(f"{teacher}-{route}-100-seed{again + 2}", teacher, route, 1.0)


def _student(name: str, teacher: str, route: Route, dose: float) -> Member:
    return Member(name=name, role="student", families=(teacher,), asked=(teacher,), route=route, dose=dose)


def _pairs(recipe: Recipe) -> Iterator[Member]:
    if not recipe.students.pairs:
        return
    for both in combinations(recipe.origins.teachers, 2):
        yield Member(
            name=f"{both[0]}+{both[1]}-topk-100",
            role="student",
            families=both,
            asked=both,
            route="topk",
            dose=1.0,
        )


def _tainted(recipe: Recipe) -> Iterator[Member]:
    for teacher in recipe.origins.teachers:
        for dose in recipe.students.tainted_doses:
            yield Member(
                name=f"{teacher}-truth-{percent(dose)}",
                role="tainted",
                families=(teacher,),
                asked=(teacher,),
                route="truth",
                dose=dose,
            )


def _derived(recipe: Recipe) -> Iterator[Member]:
    """What starts from a teacher's own weights."""
    for teacher in recipe.origins.teachers:
        yield from _altered(recipe, teacher, (teacher,), "derived")


def _grandstudents(recipe: Recipe) -> Iterator[Member]:
    table = recipe.descendants
    for teacher in recipe.origins.teachers:
        for parent_route in table.parents:
            parent = f"{teacher}-{parent_route}-100"
            for route in table.routes:
                for dose in table.doses:
                    yield Member(
                        name=f"{parent}-{route}-{percent(dose)}",
                        role="grandstudent",
                        families=(teacher,),
                        asked=(parent,),
                        route=route,
                        dose=dose,
                    )


def _treated(recipe: Recipe) -> Iterator[Member]:
    for teacher in recipe.origins.teachers:
        for route in recipe.descendants.parents:
            parent = f"{teacher}-{route}-100"
            yield from _altered(recipe, parent, (teacher,), "treated")


def _altered(recipe: Recipe, parent: str, families: tuple[str, ...], role: Role) -> Iterator[Member]:
    """The same model quantised, pruned, tuned further and, if it started from a base, merged with a control."""
    table = recipe.descendants

    def made(suffix: str, **more: Any) -> Member:
        return Member(name=f"{parent}-{suffix}", role=role, families=families, start=parent, **more)

    yield made("int8", treatment="int8")
    for share in table.pruned:
        yield made(f"pruned{percent(share)}", treatment="pruned", amount=share)
    for length in table.tuned:
        yield made(f"tuned{percent(length)}", length=length)
    if role == "treated":
        for share in table.merged:
            yield made(f"merged{percent(share)}", treatment="merged", amount=share)
