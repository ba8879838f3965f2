"""Cases of lineage tests say again what the test said, from numbers alone; damaged ones are refused."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kdguard.audit.case import Case, case_as_json, case_from_json, run
from kdguard.detectors.fingerprint.labels import Answered, Settings, examine, labelled, make_plan
from kdguard.detectors.fingerprint.labels.claims import case_of as label_case
from kdguard.detectors.fingerprint.labels.training import train
from kdguard.detectors.fingerprint.logprobs import from_likelihoods
from kdguard.detectors.fingerprint.logprobs.claims import case_of as number_case
from kdguard.detectors.fingerprint.served import Settings as Deals
from kdguard.detectors.fingerprint.served import rank_accounts, served_of
from kdguard.detectors.fingerprint.served.claims import statistics_of as served_statistics
from kdguard.detectors.fingerprint.weights import Settings as Orders
from kdguard.detectors.fingerprint.weights import compare, open_tensors
from kdguard.detectors.fingerprint.weights.claims import statistics_of as weight_statistics
from kdguard.errors import InputError
from kdguard.lineage import Claim, read_families
from tests.detectors.fingerprint.test_served import scene

SHIPPED = Path(__file__).parents[3] / "fixtures"


def again(
    test: str, statistics: dict[str, Any], parameters: dict[str, Any], version: str = "1"
) -> list[dict[str, Any]]:
    """Run a case that went through JSON."""
    case = Case(test=test, version=version, keys=(), parameters=parameters, statistics=statistics)
    return run(case_from_json(case_as_json(case)), {})


def test_likelihoods() -> None:
    folder = SHIPPED / "lineage"
    readings = from_likelihoods(
        folder / "texts.parquet",
        folder / "likelihoods.parquet",
        read_families(folder / "families.toml"),
        budget=90,
    )
    controls = folder / "controls.csv"
    told = readings.examine(controls, ["student_pool"], ["cobalt-text-50"], Claim(named=("cobalt",)))[0]
    listed = readings.listed(controls, ["student_pool"])
    parts = number_case(readings, listed, "cobalt-text-50", "cobalt")
    found = again("lineage.numbers", *parts, "2")[0]
    assert found["p_value"] == told.p_value
    assert found["score"] == pytest.approx(told.score, abs=1e-3)
    with pytest.raises(InputError, match="no reading 'other'"):
        again("lineage.numbers", parts[0], parts[1] | {"test": "other"}, "2")
    own = [parts[0]["own"][0][1:], *parts[0]["own"][1:]]
    with pytest.raises(InputError, match="one row an item"):
        again("lineage.numbers", parts[0] | {"own": own}, parts[1], "2")
    with pytest.raises(InputError, match="one column a model"):
        again("lineage.numbers", parts[0] | {"elsewhere": [[1, 2]]}, parts[1], "2")


def test_labels() -> None:
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(200, 3))
    truth = (rows[:, 0] > 0).astype(np.int64)
    teacher = train(rows[:30], truth[:30], 2, "neighbours", rng)
    settings = Settings(queries=30, controls=20, design=14, each=30)
    plan = make_plan(labelled(rows, truth.tolist(), np.arange(200) < 30), teacher, settings)
    answered = Answered(teacher(plan.queries), True)
    told = examine(plan, "suspect", answered, alpha=0.05)
    parts = label_case(plan, "suspect", answered, "teacher")
    found = again("lineage.labels", *parts, "2")
    assert [one["p_value"] for one in found] == [one.p_value for one in told.evidence[:3]]
    assert parts[1]["digest"] == plan.digest
    with pytest.raises(InputError, match="one label a query"):
        again("lineage.labels", parts[0] | {"controls": []}, parts[1], "2")


def test_served() -> None:
    table = served_of(*scene(0.6, 1), "suspect", ["clean-1"])
    settings = Deals(deals=499)
    told = rank_accounts(table, "suspect", settings)
    found = again("lineage.served", served_statistics(table, "suspect"), asdict(settings))
    assert [one["subject"] for one in found] == [one.account for one in told]
    assert [one["p_value"] for one in found] == pytest.approx([one.p_adjusted for one in told], abs=0.02)


def test_initialisation() -> None:
    suspect, teacher = (SHIPPED / "models" / name for name in ("aurora-tuned100", "aurora"))
    settings = Orders(reorderings=199, units=40)
    told = compare(suspect, teacher, settings)
    statistics = weight_statistics(open_tensors(suspect), open_tensors(teacher), settings)
    found = again("lineage.initialisation", statistics, asdict(settings))[0]
    assert found["p_value"] == told.p_value == pytest.approx(1 / 200)
    with pytest.raises(InputError, match="square tables"):
        again("lineage.initialisation", statistics | {"layers": []}, asdict(settings))
