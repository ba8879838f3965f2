"""`python -m kdguard.distill.fleets.summary MODELS LINEAGE`: the figures of the fixtures' README, as Markdown."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from kdguard.distill.corpora.corpus import TASKS, examples
from kdguard.distill.corpora.example import verify
from kdguard.distill.fleets.agreement import (
    SIMILARITIES,
    Float64,
    Shipped,
    double_difference,
    ranks,
    table,
)
from kdguard.distill.fleets.material import teacher_world
from kdguard.distill.fleets.recipe import Recipe
from kdguard.distill.teachers.local import LocalTeacher
from kdguard.distill.teachers.protocol import Ask

_EXAMINED = 300
_GROUPS = (
    ("student", "students"),
    ("grandstudent", "students of students"),
    ("derived", "from the teacher's weights"),
    ("treated", "full-dose students, altered"),
    ("tainted", "corpus without teacher"),
)


def summary(models: Path, lineage: Path) -> str:
    """All tables."""
    shipped = Shipped(lineage)
    members: list[dict[str, Any]] = json.loads((models / "manifest.json").read_text())["models"]
    found = {name: similarity(shipped) for name, similarity in SIMILARITIES.items()}
    ranked = {name: ranks(shipped, double_difference(value)) for name, value in found.items()}
    recipe = Recipe.model_validate(json.loads((models / "manifest.json").read_text())["recipe"])
    parts = [
        "Right answers to 300 held-out prompts of the own world, by task:",
        table(_knowledge(recipe, models), ["teacher", *TASKS]),
        "Share of models that rank at p <= .01 for their own family, and median rank:",
        table(_power(shipped, members, ranked), ["models", "n", *SIMILARITIES]),
        "Mean similarity to the own teacher, and over controls (5 % to 95 %):",
        table(_levels(shipped, members, found), ["models", *SIMILARITIES]),
        "Soft targets minus hard labels at equal tokens, same seed, base and answers, full dose:",
        table(
            _soft_against_hard(shipped, members, found), ["reading", "difference", "95 % interval", "pairs"]
        ),
        "Controls and students of other families at or below alpha (all families):",
        table(
            _false(shipped, members, ranked),
            ["reading", "controls .01", "controls .05", "others .01", "others .05"],
        ),
    ]
    return "\n\n".join(parts)


def _knowledge(recipe: Recipe, models: Path) -> Iterator[list[object]]:
    """What the teachers know, by the ground truth of their corpora."""
    for name in recipe.origins.teachers:
        teacher = LocalTeacher.load(models / name, context=recipe.context)
        held_out = examples(teacher_world(recipe, name), _EXAMINED, seed=recipe.seed + 11, split="test")
        asks = [
            Ask(request_id=f"{at:05d}", prompt=one.prompt, temperature=0, max_tokens=recipe.probes.max_tokens)
            for at, one in enumerate(held_out)
        ]
        said = {int(answer.request_id): answer.response or "" for answer in teacher.answer(asks)}
        right: dict[str, list[bool]] = {kind: [] for kind in TASKS}
        for at, one in enumerate(held_out):
            right[one.kind].append(verify(one, said[at]))
        yield [name, *(f"{np.mean(marks):.2f} ({len(marks)})" for marks in right.values())]


def _groups(members: Sequence[dict[str, Any]]) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Models that are alike: students by route and dose, the others by what was done to them."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for role, title in _GROUPS:
        for one in members:
            if one["role"] != role:
                continue
            if role in ("student", "grandstudent", "tainted"):
                many = "two teachers, " if len(one["families"]) > 1 else ""
                key = f"{title}: {many}{one['route']} {one['dose']:.0%}"
            else:
                parent = one["start"]
                key = f"{title}: {one['name'].removeprefix(parent + '-')}"
            groups.setdefault(key, []).append(one)
    yield from groups.items()


def _own(shipped: Shipped, group: Sequence[dict[str, Any]], values: Float64) -> Float64:
    """Values of a group's models for the families they belong to."""
    return np.array(
        [
            values[shipped.models.index(one["name"]), shipped.families.index(family)]
            for one in group
            for family in one["families"]
        ]
    )


def _power(
    shipped: Shipped, members: Sequence[dict[str, Any]], ranked: dict[str, Float64]
) -> Iterator[list[object]]:
    for title, group in _groups(members):
        own = [_own(shipped, group, values) for values in ranked.values()]
        yield [title, len(own[0]), *(f"{(p <= 0.01).mean():.2f}, {np.median(p):.3f}" for p in own)]


def _levels(
    shipped: Shipped, members: Sequence[dict[str, Any]], found: dict[str, Float64]
) -> Iterator[list[object]]:
    for title, group in _groups(members):
        yield [title, *(f"{_own(shipped, group, values).mean():.3f}" for values in found.values())]
    pool = [shipped.models.index(name) for name in shipped.controls[shipped.families[0]]]
    cells = []
    for values in found.values():
        low, high = np.quantile(values[pool], [0.05, 0.95])
        cells.append(f"{values[pool].mean():.3f} ({low:.3f} to {high:.3f})")
    yield ["controls", *cells]


def _soft_against_hard(
    shipped: Shipped, members: Sequence[dict[str, Any]], found: dict[str, Float64]
) -> Iterator[list[object]]:
    """Pairs of students that differ in nothing but the targets: `topk` and `rationale`."""
    by_name = {one["name"]: one for one in members}
    pairs = [
        (one, by_name[twin])
        for one in members
        if one["role"] == "student" and one["route"] == "topk" and one["dose"] == 1
        if (twin := one["name"].replace("-topk-", "-rationale-")) in by_name
    ]
    for name, values in found.items():
        differences = np.array(
            [
                _own(shipped, [soft], values)[0] - _own(shipped, [hard], values)[0]
                for soft, hard in pairs
                if len(soft["families"]) == 1
            ]
        )
        half = stats.t.ppf(0.975, len(differences) - 1) * differences.std(ddof=1) / len(differences) ** 0.5
        mean = differences.mean()
        yield [name, f"{mean:+.4f}", f"{mean - half:+.4f} to {mean + half:+.4f}", len(differences)]


def _false(
    shipped: Shipped, members: Sequence[dict[str, Any]], ranked: dict[str, Float64]
) -> Iterator[list[object]]:
    for name, values in ranked.items():
        rates = []
        for roles in (("control",), ("student", "grandstudent", "treated", "derived")):
            p = np.array(
                [
                    values[shipped.models.index(one["name"]), column]
                    for one in members
                    if one["role"] in roles
                    for column, family in enumerate(shipped.families)
                    if family not in one["families"]
                ]
            )
            rates += [f"{(p <= alpha).mean():.4f}" for alpha in (0.01, 0.05)]
        yield [name, *rates]


if __name__ == "__main__":
    sys.stdout.write(summary(Path(sys.argv[1]), Path(sys.argv[2])) + "\n")
