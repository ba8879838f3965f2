"""Dose and power on models whose parents are known: what each lineage test finds, and what thieves do next.

    python -m tests.bench lineage-fixtures
    python -m tests.bench lineage-fixtures --models OTHER/models --lineage OTHER/lineage

Every suspect is ranked for every family among the controls of no teacher (floor .0079 with 126), families named
beforehand; a merged model is not ranked among the control it was merged with. A cell: share of models with p <= .01 for
their own family, share whose verdict is `supported`, and the median p. `text` is the rank over all prompts of the
similarity test; its verdict may be inconclusive, where answers are too short for it.

The lines below count claims for families that a model does not belong to, by what was done to the model; in brackets
the 95 % interval of the share of models with p <= .01 for one of them (Clopper and Pearson; a model is one case however
many families it is tested for, but models of one teacher are not independent). `unlisted`: the same where the model's
own family is left out of the table, so that nothing can tell the test what it descends from.

Statistics were chosen on the shipped models, so their power is flattered. A fleet of the same recipe with another
`seed` (and `probes.seed`), made by `python -m kdguard.distill.fleets`, holds models that no choice has seen.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from kdguard import lineage
from kdguard.detectors.fingerprint import Similarity
from kdguard.detectors.fingerprint.logprobs import Readings, from_labels, from_likelihoods, from_tokens
from kdguard.lineage import Claim, Family, LineageVerdict

SHIPPED = Path(__file__).parents[2] / "fixtures"
POOL = ("student_pool",)
BUDGETS = (60, 120, 198)
ROLES = {"student", "grandstudent", "derived", "treated", "tainted"}
ALPHAS = (0.01, 0.05, 0.1)

Reader = Callable[[Sequence[Family]], Readings]
Ranks = Mapping[tuple[str, str], LineageVerdict]
"""Verdicts by suspect and family."""


@dataclass(frozen=True)
class Fleet:
    """Models with their parents, and what was read of them.

    Attributes:
        members: As the manifest tells them, by name.
        lineage: Folder of the readings.
    """

    members: Mapping[str, Mapping[str, Any]]
    lineage: Path

    @property
    def suspects(self) -> list[str]:
        """Models that have a parent."""
        return [name for name, one in self.members.items() if one["role"] in ROLES]

    @property
    def families(self) -> tuple[Family, ...]:
        """Teachers."""
        return lineage.read_families(self.lineage / "families.toml")

    def controls(self, left_out: str | None, folder: Path) -> Path:
        """Table of controls without the one that a suspect was merged with."""
        told = pd.read_csv(self.lineage / "controls.csv")
        path = folder / f"{left_out}.csv"
        told[told["control"] != left_out].to_csv(path, index=False)
        return path

    def readers(self) -> dict[str, Reader]:
        """Ways to read these models in numbers."""
        texts, likelihoods = self.lineage / "texts.parquet", self.lineage / "likelihoods.parquet"

        def likely(budget: int | None) -> Reader:
            return lambda families: from_likelihoods(texts, likelihoods, families, budget=budget)

        return {
            "decisions": lambda families: from_labels(self.lineage / "labels.parquet", families),
            "top-20 of first tokens": lambda families: from_tokens(self.lineage / "tokens.parquet", families),
            **{f"likelihood, {budget} texts": likely(budget) for budget in BUDGETS},
            "likelihood, all texts": likely(None),
        }


def main() -> None:
    """Print the tables as Markdown."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--models", type=Path, default=SHIPPED / "models", help="folder of manifest.json")
    parser.add_argument("--lineage", type=Path, default=SHIPPED / "lineage", help="folder of the readings")
    given = parser.parse_args()
    told = json.loads((given.models / "manifest.json").read_text())["models"]
    fleet = Fleet({one["name"]: one for one in told}, given.lineage)
    tests: dict[str, Ranks] = {"text": _text(fleet)}
    unlisted: dict[str, Ranks] = {}
    for name, reader in fleet.readers().items():
        print(name, file=sys.stderr)
        tests[name] = _numbers(reader(fleet.families), fleet, fleet.suspects)
        if name not in ("likelihood, 60 texts", "likelihood, 120 texts"):
            unlisted[name] = dict(_without_own(reader, fleet))
    _power(tests, fleet)
    _false(tests, fleet, "listed")
    _false(unlisted, fleet, "unlisted")


def _numbers(readings: Readings, fleet: Fleet, suspects: Sequence[str]) -> Ranks:
    """Verdicts by numbers; a suspect's other half is no control of it."""
    found: dict[tuple[str, str], LineageVerdict] = {}
    with tempfile.TemporaryDirectory() as folder:
        for beside in sorted({str(fleet.members[name]["beside"]) for name in suspects}):
            whose = [name for name in suspects if str(fleet.members[name]["beside"]) == beside]
            controls = fleet.controls(beside, Path(folder))
            verdicts = readings.examine(controls, POOL, whose, Claim(adjust=False))
            found |= {(one.suspect, one.teacher_family): one for one in verdicts}
    return found


def _without_own(reader: Reader, fleet: Fleet) -> Iterator[tuple[tuple[str, str], LineageVerdict]]:
    """Verdicts for other families, with the own one taken out of the table."""
    for hidden in fleet.families:
        children = [name for name in fleet.suspects if fleet.members[name]["families"] == [hidden.name]]
        rest = [family for family in fleet.families if family != hidden]
        yield from _numbers(reader(rest), fleet, children).items()


def _text(fleet: Fleet) -> Ranks:
    table = lineage.read_responses(fleet.lineage / "responses.parquet")
    placed = lineage.place_families(fleet.families, table)
    listed = lineage.read_controls(fleet.lineage / "controls.csv")
    controls = lineage.listed_controls(listed, POOL, placed, table)
    found = lineage.test(table, placed, controls, fleet.suspects, (Similarity(),), Claim(adjust=False))
    return {(one.suspect, one.teacher_family): one for one in found}


def _p(verdict: LineageVerdict) -> float:
    """Rank over all prompts."""
    told = verdict.evidence[0].p_value if verdict.evidence else None
    return 1.0 if told is None else told


def _group(one: Mapping[str, Any]) -> str:
    if one["role"] == "student":
        if len(one["families"]) > 1:
            return "student of two teachers, top-k"
        return f"student, {one['route']}, {one['dose']:.0%}"
    if one["role"] == "grandstudent":
        return f"student of a student, {one['route']}"
    if one["role"] == "tainted":
        return f"corpus without teacher, {one['dose']:.0%}"
    whose = "teacher's weights" if one["role"] == "derived" else "full-dose student"
    return f"{whose}, {one['name'].removeprefix(one['start'] + '-')}"


def _kind(one: Mapping[str, Any]) -> str:
    """Where a model began and what was done to it."""
    kinds = {"derived": "another teacher's weights", "treated": "another's student, altered"}
    return kinds.get(one["role"], "another's student, or of its corpus")


def _head(first: str, tests: Mapping[str, Ranks]) -> None:
    print(f"| {first} | n |", " | ".join(tests), "|\n| --- | --- |", "--- |" * len(tests))


def _power(tests: Mapping[str, Ranks], fleet: Fleet) -> None:
    groups: dict[str, list[str]] = {}
    for name in fleet.suspects:
        groups.setdefault(_group(fleet.members[name]), []).append(name)
    _head("p <= .01, supported, median p", tests)
    for title, names in groups.items():
        pairs = [(name, family) for name in names for family in fleet.members[name]["families"]]
        cells = []
        for ranks in tests.values():
            p_values = np.array([_p(ranks[pair]) for pair in pairs])
            claimed = np.mean([ranks[pair].verdict is lineage.Lineage.SUPPORTED for pair in pairs])
            cells.append(f"{(p_values <= 0.01).mean():.2f}, {claimed:.2f}, {np.median(p_values):.3f}")
        print(f"| {title} | {len(pairs)} |", " | ".join(cells), "|")


def _false(tests: Mapping[str, Ranks], fleet: Fleet, title: str) -> None:
    _head(f"own family {title}: p <= .01 / .05 / .1, claimed at .01", tests)
    for kind in ("all", *dict.fromkeys(_kind(fleet.members[name]) for name in fleet.suspects)):
        cells, count = [], 0
        for ranks in tests.values():
            others = {
                pair: one
                for pair, one in ranks.items()
                if pair[1] not in fleet.members[pair[0]]["families"]
                and kind in ("all", _kind(fleet.members[pair[0]]))
            }
            count = len(others)
            cells.append(_rates(others))
        print(f"| {kind} | {count} |", " | ".join(cells), "|")


def _rates(others: Ranks) -> str:
    """Shares of pairs at or below each alpha, with an interval of the share of models; and claims."""
    p_values = np.array([_p(one) for one in others.values()])
    models = {name for name, _ in others}
    touched = {name for (name, _), one in others.items() if _p(one) <= ALPHAS[0]}
    low, high = stats.binomtest(len(touched), len(models)).proportion_ci()
    claims = sum(one.verdict is lineage.Lineage.SUPPORTED for one in others.values())
    shares = " / ".join(f"{(p_values <= alpha).mean():.3f}" for alpha in ALPHAS)
    return f"{shares}, {claims} ({len(touched)} of {len(models)}: {low:.3f} to {high:.3f})"


if __name__ == "__main__":
    main()
