"""Power and false claims of the label test on scikit-learn's data sets, beside the simple rivals.

    python -m tests.bench.lineage_labels --data breast_cancer --teachers 3 --first 100 --out FILE
    python -m tests.bench.lineage_labels --table FILE

For every teacher the rows are parted anew (`tests.bench.label_worlds`): what the teacher learnt, what else its owner
has, the world outside, and 15 % that nobody learns. Thieves learn its labels of outside rows, and of rows they make up;
independents learn true labels. `--roles independent` leaves thieves out, where alarms alone are to be counted. All are
asked the same queries, and all rivals rank among the same controls:

agreement: with the teacher on random rows that nobody learnt; AKH: on those of them that the teacher gets wrong, as
many as there are; proportions: a two-proportion test of agreement on random rows against the controls' mean, which
takes queries for independent; AKH and agreement also claimed at 90 %. A second table counts false alarms by teacher
(`tests.bench.label_alarms`).
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from kdguard.detectors.fingerprint.labels import (
    Answered,
    Plan,
    Prepared,
    Settings,
    examine,
    labelled,
    prepare,
)
from kdguard.detectors.fingerprint.labels.plan import SAME_ROWS
from kdguard.detectors.fingerprint.labels.training import KINDS, Predict
from kdguard.lineage.scored import place_of
from kdguard.stats.intervals import clopper_pearson
from tests.bench import label_alarms
from tests.bench.label_worlds import DATA, INDEPENDENTS, WAYS, World, independents, students, world

Floats = npt.NDArray[np.float64]

_BUDGETS = (25, 50, 100, 200)
_EACH_WAY, _EACH_INDEPENDENT = 1, 2
_ROLES = ("student", "independent")


def main() -> None:
    """Write one JSON line a teacher and lot of suspects, or make a table of such lines."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=list(DATA), default="wine")
    parser.add_argument("--teachers", type=int, default=3)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--share", type=float, nargs="+", default=[1.0])
    parser.add_argument("--controls", type=int, default=200)
    parser.add_argument("--design", type=int, default=168)
    parser.add_argument("--roles", choices=_ROLES, nargs="+", default=_ROLES)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--table", type=Path)
    given = parser.parse_args()
    if given.table:
        lines = [json.loads(line) for line in given.table.read_text().splitlines()]
        print("\n".join([*_table(lines), "", *label_alarms.table(lines, given.controls)]))
        return
    for seed in range(given.first, given.first + given.teachers):
        for share in given.share:
            for line in _teacher(given.data, share, seed, given):
                with given.out.open("a", encoding="utf-8") as out:
                    out.write(json.dumps(line) + "\n")


def _teacher(name: str, share: float, seed: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    rng, began = np.random.default_rng([seed, int(share * 100)]), time.process_time()
    kind = tuple(KINDS)[seed % len(KINDS)]
    one = world(name, kind, share, rng)
    data = labelled(one.own, one.own_truth.tolist(), np.arange(len(one.own)) < one.taught)
    prepared = prepare(data, one.teacher, Settings(seed=seed, controls=given.controls, design=given.design))
    plans = {count: prepared.plan(count) for count in _BUDGETS}
    told = {"data": name, "teacher": kind, "seed": seed, "share": share}
    told["accuracy"] = round(float((one.teacher(one.held).argmax(axis=1) == one.held_truth).mean()), 3)
    told["controls_accuracy"] = [round(value, 3) for value in plans[100].accuracies[1:]]
    told["plan_cpu_s"] = round(time.process_time() - began, 1)
    lots = [("student", way, students(one, way, _EACH_WAY, rng)) for way in WAYS]
    lots += [("independent", what, independents(one, what, _EACH_INDEPENDENT, rng)) for what in INDEPENDENTS]
    for role, what, made in lots:
        if role not in given.roles:
            continue
        suspects = list(made)
        yield (
            told
            | {"role": role, "what": what, "n": len(suspects)}
            | {"p": _ours(plans, suspects)}
            | {"rivals": _rivals(one, prepared, suspects, rng)}
        )


def _ours(plans: dict[int, Plan], suspects: list[Predict]) -> dict[str, list[list[float]]]:
    """By queries: for each suspect its rank among strangers, models of the teacher's rows, and of dark knowledge."""
    return {
        str(count): [_ranks(plan, Answered(one(plan.queries), True)) for one in suspects]
        for count, plan in plans.items()
    }


def _ranks(plan: Plan, answered: Answered) -> list[float]:
    found = [item.p_value or 1.0 for item in examine(plan, "", answered).evidence[:4]]
    if not found:
        return [1.0] * 3
    of_rows, of_same_rows, of_teachers, dark = found
    return [max(of_rows, of_teachers), of_same_rows, dark]


def _rivals(
    one: World, prepared: Prepared, suspects: list[Predict], rng: np.random.Generator
) -> dict[str, list[bool]]:
    """What each rival claims at .01."""
    said = one.teacher(one.held).argmax(axis=1)
    controls = [
        model for model, group in zip(prepared.controls, prepared.groups, strict=True) if group != SAME_ROWS
    ]
    agree = np.stack([model(one.held).argmax(axis=1) == said for model in (*controls, *suspects)])
    random, wrong = rng.permutation(len(said))[:100], np.flatnonzero(said != one.held_truth)[:100]
    found = {}
    for name, places in (("agreement", random), ("AKH", wrong)):
        rates = agree[:, places].mean(axis=1) if len(places) else np.zeros(len(agree))
        among, mine = rates[: len(controls)], rates[len(controls) :]
        found[name] = [bool(place_of(np.append(among, rate)).p_value <= 0.01) for rate in mine]
        found[f"{name} >= 90 %"] = [bool(rate >= 0.9) for rate in mine]
    among, mine = np.split(agree[:, random].mean(axis=1), [len(controls)])
    expected = float(among.mean())
    error = np.sqrt(max(expected * (1 - expected), 1e-9) * 2 / len(random))
    found["proportions"] = [bool(norm.sf((rate - expected) / error) <= 0.01) for rate in mine]
    return found


def _table(lines: list[dict[str, Any]]) -> Iterator[str]:
    """Share claimed at .01, rows by what suspects are; for independents the 95 % bound above, were they independent."""
    lots = defaultdict(list)
    for line in lines:
        lots[line["role"], line["what"]].append(line)
    rivals = list(lines[0]["rivals"])
    heads = [*(f"{count} queries" for count in _BUDGETS), "also of its rows, 100", "dark, 100", *rivals]
    yield "| suspects | n | " + " | ".join(heads) + " |"
    yield "|---" * (len(heads) + 2) + "|"
    for (role, what), lot in sorted(lots.items(), key=lambda item: item[0][0], reverse=True):
        columns = [[p[0] <= 0.01 for line in lot for p in line["p"][str(count)]] for count in _BUDGETS]
        at_100 = [p for line in lot for p in line["p"]["100"]]
        columns += [[max(p[:2]) <= 0.01 for p in at_100], [p[2] <= 0.01 for p in at_100]]
        columns += [[claim for line in lot for claim in line["rivals"][rival]] for rival in rivals]
        cells = [_cell(column, role == "independent") for column in columns]
        yield f"| {role}: {what} | {len(columns[0])} | " + " | ".join(cells) + " |"


def _cell(claims: list[bool], bounded: bool) -> str:
    hits = sum(claims)
    if not bounded:
        return f"{hits / len(claims):.2f}"
    return f"{hits / len(claims):.3f} (≤ {clopper_pearson(hits, len(claims), 0.9)[1]:.3f})"


if __name__ == "__main__":
    main()
