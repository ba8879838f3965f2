"""Power and false claims of the label tests on scikit-learn's real data sets, beside the simple rivals.

    python -m tests.bench.lineage_labels --data digits --teachers 6 --first 100

For every teacher (a kind, and how many rows it learnt from: that sets its accuracy) the rows are parted anew: what the
teacher learnt, what else its owner has, and the world outside. Students learn the teacher's labels of outside rows and
of mixtures of them; independent models learn the true labels of outside rows, in the same number and kinds, so that
their accuracy is that of students' siblings. All suspects are asked the same at most 100 queries.

Rivals rank their own statistic among the same controls (so all hold the same level), or use their published threshold:
Hamming agreement on random real rows; AKH, agreement on the teacher's mistakes on real rows; both also with a threshold
of 90 % agreement; and a t-test of margins on rows that the teacher learnt against rows that it did not, as Dataset
Inference does. With `--served` the log tells which rows the students bought: these are asked as well, and independents
learnt the true labels of the very same rows.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import ttest_ind
from sklearn import datasets

from kdguard.detectors.fingerprint.labels import Answered, Plan, Settings, examine, labelled, make_plan
from kdguard.detectors.fingerprint.labels.training import KINDS, Predict, train
from kdguard.lineage.scored import place_of

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

DATA = {
    "digits": datasets.load_digits,
    "breast_cancer": datasets.load_breast_cancer,
    "wine": datasets.load_wine,
}
_EACH = 3
"""Students, and independents, a kind."""


@dataclass(frozen=True)
class World:
    """One teacher, its owner's rows, and the rows outside."""

    own: Floats
    own_labels: Ints
    taught: int
    outside: Floats
    outside_labels: Ints
    teacher: Predict
    classes: int


def main() -> None:
    """One JSON line a teacher and kind of suspect."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", choices=list(DATA), default="digits")
    parser.add_argument("--teachers", type=int, default=3)
    parser.add_argument("--first", type=int, default=100)
    parser.add_argument("--taught", type=float, nargs="+", default=[0.15, 0.5, 1.0])
    parser.add_argument("--controls", type=int, default=250)
    parser.add_argument("--mixtures", type=int, default=5)
    parser.add_argument("--served", action="store_true")
    given = parser.parse_args()
    for seed in range(given.first, given.first + given.teachers):
        for share in given.taught:
            kind = tuple(KINDS)[seed % len(KINDS)]
            for line in _teacher(given.data, kind, share, seed, given):
                print(
                    json.dumps({"data": given.data, "teacher": kind, "taught": share, "seed": seed} | line),
                    flush=True,
                )


def _world(name: str, kind: str, share: float, rng: np.random.Generator) -> World:
    rows, labels = DATA[name](return_X_y=True)
    order = rng.permutation(len(rows))
    rows, labels = np.asarray(rows[order], np.float64), np.asarray(labels[order], np.int64)
    classes = int(labels.max()) + 1
    own = int(0.6 * len(rows))
    taught = max(int(share * 0.4 * own), 2 * classes)
    teacher = train(rows[:taught], labels[:taught], classes, kind, rng)
    return World(rows[:own], labels[:own], taught, rows[own:], labels[own:], teacher, classes)


def _teacher(
    name: str, kind: str, share: float, seed: int, given: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    rng, began = np.random.default_rng([seed, int(share * 100)]), time.process_time()
    world = _world(name, kind, share, rng)
    data = labelled(world.own, world.own_labels.tolist(), np.arange(len(world.own)) < world.taught)
    served = labelled(world.outside, world.outside_labels.tolist()) if given.served else None
    settings = Settings(seed=seed, controls=given.controls)
    plan = make_plan(data, world.teacher, settings, served=served)
    spent = time.process_time() - began
    accuracy = float((world.teacher(world.outside).argmax(axis=1) == world.outside_labels).mean())
    for what, mixtures in (("student", 0), ("student_mixed", given.mixtures), ("independent", 0)):
        suspects = list(_suspects(world, what, mixtures, rng))
        verdicts = [examine(plan, what, Answered(one(plan.queries), True)) for one in suspects]
        p_label = [one.evidence[0].p_value if one.evidence else 1.0 for one in verdicts]
        p_dark = [one.evidence[1].p_value if one.evidence else 1.0 for one in verdicts]
        yield {
            "accuracy": round(accuracy, 3),
            "served": given.served,
            "suspects": what,
            "n": len(suspects),
            "queries": len(plan.queries),
            "labels": _shares(p_label),
            "dark": _shares(p_dark),
            **_rivals(world, plan, suspects, seed),
            "plan_cpu_s": round(spent, 1),
        }


def _suspects(world: World, what: str, mixtures: int, rng: np.random.Generator) -> Iterator[Predict]:
    for kind in KINDS:
        for _ in range(_EACH):
            places = rng.permutation(len(world.outside))[: int(0.8 * len(world.outside))]
            rows, labels = world.outside[places], world.outside_labels[places]
            if what != "independent":
                one, other = rng.integers(len(rows), size=(2, mixtures * len(rows)))
                share = rng.uniform(0.2, 0.8, (len(one), 1))
                rows = np.concatenate([rows, share * rows[one] + (1 - share) * rows[other]])
                labels = world.teacher(rows).argmax(axis=1)
            yield train(rows, labels, world.classes, kind, rng)


def _rivals(world: World, plan: Plan, suspects: list[Predict], seed: int) -> dict[str, Any]:
    """Each rival's share of suspects claimed: ranked at .01 among controls of its own, and by its threshold."""
    rng = np.random.default_rng([seed, 7])
    fresh = world.own[world.taught :]
    truth = world.own_labels[world.taught :]
    said = world.teacher(fresh).argmax(axis=1)
    random = rng.permutation(len(fresh))[:100]
    wrong = np.flatnonzero(said != truth)[:100]
    rest = rng.permutation(len(fresh))
    controls = []
    for at in range(99):
        places = rng.permutation(rest)[: len(rest) // 2]
        controls.append(
            train(fresh[places], truth[places], world.classes, tuple(KINDS)[at % len(KINDS)], rng)
        )
    told = {}
    for name, places in (("hamming", random), ("akh", wrong)):

        def score(one: Predict, places: Ints = places) -> float:
            return float((one(fresh[places]).argmax(axis=1) == said[places]).mean()) if len(places) else 0.0

        among = np.array([score(one) for one in controls])
        mine = [score(one) for one in suspects]
        ranked = [place_of(np.append(among, value)).p_value <= 0.01 for value in mine]
        told[name] = [
            round(float(np.mean(ranked)), 3),
            round(float(np.mean(np.array(mine) >= 0.9)), 3),
            len(places),
        ]
    told["dataset_inference"] = [
        round(float(np.mean([_inferred(world, one) <= 0.01 for one in suspects])), 3)
    ]
    return told


def _inferred(world: World, suspect: Predict) -> float:
    """p of a t-test that the suspect is surer of the true label on rows that the teacher learnt than on others."""
    rows, labels = world.own, world.own_labels
    margin = suspect(rows)[np.arange(len(rows)), labels]
    return float(ttest_ind(margin[: world.taught], margin[world.taught :], alternative="greater").pvalue)


def _shares(p_values: list[float | None]) -> list[float]:
    found = np.array(p_values, np.float64)
    return [round(float((found <= alpha).mean()), 3) for alpha in (0.01, 0.05)]


if __name__ == "__main__":
    main()
