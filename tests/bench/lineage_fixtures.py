"""Dose and power on the shipped models whose parents are known: what each lineage test finds, and what thieves do next.

    python -m tests.bench.lineage_fixtures

Every suspect is ranked for every family among the 126 controls of no teacher (floor .0079), families named beforehand.
A cell: share of models with p <= .01 for their own family, and the median p. `text` is the rank over all prompts of the
similarity test; its verdict may still be inconclusive, where answers are too short for it. The last lines count claims
for families that a model does not belong to, and power by number of texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kdguard import lineage
from kdguard.detectors.fingerprint import Similarity
from kdguard.detectors.fingerprint.logprobs import from_labels, from_likelihoods, from_tokens

SHIPPED = Path(__file__).parents[2] / "fixtures"
LINEAGE = SHIPPED / "lineage"
POOL = ("student_pool",)
BUDGETS = (60, 120, 198)

Ranks = Mapping[tuple[str, str], float]
"""p by suspect and family."""


def main() -> None:
    """Print the tables as Markdown."""
    members = {
        one["name"]: one for one in json.loads((SHIPPED / "models" / "manifest.json").read_text())["models"]
    }
    roles = {"student", "grandstudent", "derived", "treated", "tainted"}
    suspects = [name for name, one in members.items() if one["role"] in roles]
    families = lineage.read_families(LINEAGE / "families.toml")
    texts, likelihoods = LINEAGE / "texts.parquet", LINEAGE / "likelihoods.parquet"
    by_budget = {
        f"{budget} texts": _numbers(from_likelihoods(texts, likelihoods, families, budget=budget), suspects)
        for budget in BUDGETS
    }
    tests: dict[str, Ranks] = {
        "text, 199 prompts": _text(suspects),
        "decisions, 199 prompts": _numbers(from_labels(LINEAGE / "labels.parquet", families), suspects),
        "top-20 of first tokens, 199 prompts": _numbers(
            from_tokens(LINEAGE / "tokens.parquet", families), suspects
        ),
        "likelihood, 198 texts": by_budget["198 texts"],
        "likelihood, 597 texts": _numbers(from_likelihoods(texts, likelihoods, families), suspects),
    }
    _table(tests, members, suspects)
    _table(by_budget, members, suspects)


def _numbers(readings: Any, suspects: list[str]) -> Ranks:
    found = readings.examine(LINEAGE / "controls.csv", POOL, suspects, lineage.Claim(adjust=False))
    return {(one.suspect, one.teacher_family): one.p_value for one in found}


def _text(suspects: list[str]) -> Ranks:
    table = lineage.read_responses(LINEAGE / "responses.parquet")
    placed = lineage.place_families(lineage.read_families(LINEAGE / "families.toml"), table)
    listed = lineage.read_controls(LINEAGE / "controls.csv")
    controls = lineage.listed_controls(listed, POOL, placed, table)
    found = lineage.test(table, placed, controls, suspects, (Similarity(),), lineage.Claim(adjust=False))
    return {
        (one.suspect, one.teacher_family): float(one.evidence[0].p_value or 1) if one.evidence else 1.0
        for one in found
    }


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


def _table(tests: Mapping[str, Ranks], members: Mapping[str, Any], suspects: list[str]) -> None:
    groups: dict[str, list[str]] = {}
    for name in suspects:
        groups.setdefault(_group(members[name]), []).append(name)
    print("| models | n |", " | ".join(tests), "|\n| --- | --- |", "--- |" * len(tests))
    for title, names in groups.items():
        pairs = [(name, family) for name in names for family in members[name]["families"]]
        cells = []
        for ranks in tests.values():
            p_values = np.array([ranks[pair] for pair in pairs])
            cells.append(f"{(p_values <= 0.01).mean():.2f}, {np.median(p_values):.3f}")
        print(f"| {title} | {len(pairs)} |", " | ".join(cells), "|")
    cells = []
    for ranks in tests.values():
        others = np.array(
            [p for (name, family), p in ranks.items() if family not in members[name]["families"]]
        )
        cells.append(" / ".join(f"{(others <= alpha).mean():.3f}" for alpha in (0.01, 0.05, 0.1)))
    print(f"| other families: p <= .01 / .05 / .1 | {len(others)} |", " | ".join(cells), "|\n")


if __name__ == "__main__":
    main()
