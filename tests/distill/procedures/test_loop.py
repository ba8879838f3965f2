"""The plain loop: exact accumulation and resume, the fleet's step, and stops that leave something to look at."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from kdguard.distill.procedures.loop import Outcome, Pace, run_loop
from kdguard.distill.procedures.part import Item
from kdguard.distill.procedures.text import text
from kdguard.distill.students.data import Document
from kdguard.distill.students.fleet import Report
from kdguard.distill.students.packing import pack
from kdguard.distill.students.plan import Plan, Slot
from kdguard.distill.students.shapes import shape_of
from kdguard.distill.students.training import train
from kdguard.errors import TrainingError
from tests.distill.procedures.killed_loop import KILLED, run
from tests.distill.procedures.made import FAMILIES, PLAN, SEED, WHOLE, gradient, items, model

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() - WHOLE))
def test_accumulation_is_one_big_batch(family: str) -> None:
    whole = gradient(FAMILIES[family], PLAN)
    assert whole.norm() > 0
    for micro_rows in (2, 1):
        cut = gradient(FAMILIES[family], replace(PLAN, micro_rows=micro_rows))
        assert ((cut - whole).norm() / whole.norm()).item() < 1e-5


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_every_family_trains_and_repeats(family: str) -> None:
    outcomes, weights = [], []
    for _ in range(2):
        procedure = FAMILIES[family](PLAN)
        before = [weight.detach().clone() for weight in procedure.modules["student"].parameters()]
        outcomes.append(run_loop(procedure, PLAN, Pace(learning_rate=1e-2, seed=SEED)))
        after = [weight.detach() for weight in procedure.modules["student"].parameters()]
        assert any(not torch.equal(old, new) for old, new in zip(before, after, strict=True))
        weights.append(torch.cat([one.flatten() for one in after]))
    first, second = outcomes
    assert first == second
    assert torch.equal(*weights)
    assert np.isfinite([text[0] + soft[0] for _, text, soft in first.history]).all()
    assert sum(first.seen.values()) > 0


def test_the_loop_is_the_fleet_where_both_can_train() -> None:
    """Rows of one document each: the same order, the same losses, the same steps."""
    student = model(5)
    documents = [
        Document(np.random.default_rng(place).integers(10, 300, 12).astype(np.int32), np.ones(12, np.float32))
        for place in range(6)
    ]
    plan = Plan(steps=5, rows=3, report_every=5)
    start = {name: value.clone() for name, value in student.state_dict().items()}
    slot = Slot(name="one", data=pack(documents, 12), seed=SEED, learning_rate=1e-2, start=start)
    fleet = train(shape_of(student.config), slot, plan)
    procedure = text(student, [Item(document) for document in documents], plan, SEED)
    outcome = run_loop(procedure, plan, Pace(learning_rate=1e-2, seed=SEED))
    assert outcome.seen == fleet.seen[0]
    assert outcome.history[-1][1][0] == pytest.approx(fleet.history[-1][1][0], rel=1e-4)
    found = student.state_dict()
    for name, weight in fleet.state_dict().items():
        # Adam divides by the gradient's own size: where that is tiny, rounding is all there is.
        assert ((found[name] - weight).abs() > 1e-3).float().mean() < 1e-2, name


@pytest.mark.parametrize("family", KILLED)
def test_a_killed_run_ends_with_the_same_bytes(family: str, tmp_path: Path) -> None:
    whole, weights = run(family, None)
    command = [sys.executable, "-m", "tests.distill.procedures.killed_loop", family, str(tmp_path), "5"]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=600).returncode == -9
    assert [path.name for path in sorted(tmp_path.glob("step-*"))] == ["step-000000002", "step-000000004"]
    resumed, again = run(family, tmp_path)
    for name, weight in weights.items():
        assert weight.numpy().tobytes() == again[name].numpy().tobytes(), name
    assert resumed.seen == whole.seen
    assert resumed.run == whole.run


def test_reports_tell_loss_pace_and_time_left(tmp_path: Path) -> None:
    told: list[Report] = []
    plan = replace(PLAN, report_every=2)
    outcome = run_loop(FAMILIES["text"](plan), plan, Pace(), report=told.append)
    assert [one.step for one in told] == [2, 4]
    assert told[0].seconds_left > 0 == told[1].seconds_left
    assert all(one.tokens_per_s > 0 for one in told)
    assert [one.text for one in told] == [text for _, text, _ in outcome.history]


def test_a_loss_that_is_not_finite_stops_before_the_step_and_saves_the_batch(tmp_path: Path) -> None:
    procedure = FAMILIES["forward_kl"](PLAN)
    student = procedure.modules["student"]
    with torch.no_grad():
        next(student.parameters())[0, 0] = torch.nan  # padding: read by every row
    before = [weight.detach().clone() for weight in student.parameters()]
    with pytest.raises(
        TrainingError, match=r"not finite at step 1; its batch is in .*lower the learning rate"
    ):
        run_loop(procedure, PLAN, Pace(), folder=tmp_path)
    (found,) = tmp_path.glob("broken-step-*")
    batch, told = load_file(found / "batch.safetensors"), json.loads((found / "batch.json").read_text())
    assert batch["0.tokens"].shape[0] == len(told["rows"]) == PLAN.rows
    assert told["step"] == 0
    for old, new in zip(before, student.parameters(), strict=True):
        torch.testing.assert_close(old, new, equal_nan=True, rtol=0, atol=0)
    assert not list(tmp_path.glob("step-*"))


def test_checkpoints_of_another_version_or_run_are_refused(tmp_path: Path) -> None:
    outcome: Outcome = run_loop(FAMILIES["text"](PLAN), PLAN, Pace(), folder=tmp_path)
    with pytest.raises(TrainingError, match="belongs to another run"):
        run_loop(FAMILIES["text"](PLAN), PLAN, Pace(learning_rate=1.0), folder=tmp_path)
    others = text(model(), items()[1:], PLAN, SEED)
    with pytest.raises(TrainingError, match="belongs to another run"):
        run_loop(others, PLAN, Pace(), folder=tmp_path)
    again = run_loop(FAMILIES["text"](PLAN), PLAN, Pace(), folder=tmp_path)
    assert again.history == outcome.history  # a finished run has nothing to do
    described = tmp_path / "step-000000004" / "checkpoint.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | {"checkpoint_version": 9}))
    with pytest.raises(TrainingError, match="version 9, this kdguard reads version 1"):
        run_loop(FAMILIES["text"](PLAN), PLAN, Pace(), folder=tmp_path)


def test_half_precision_products_keep_float32_weights() -> None:
    narrow = replace(PLAN, arithmetic="bfloat16")
    procedure = FAMILIES["forward_kl"](narrow)
    found = run_loop(procedure, narrow, Pace(learning_rate=1e-3))
    exact = run_loop(FAMILIES["forward_kl"](PLAN), PLAN, Pace(learning_rate=1e-3))
    assert all(weight.dtype == torch.float32 for weight in procedure.modules["student"].parameters())
    for (_, text_loss, soft), (_, exact_text, exact_soft) in zip(found.history, exact.history, strict=True):
        assert text_loss[0] + soft[0] == pytest.approx(exact_text[0] + exact_soft[0], rel=0.02)
