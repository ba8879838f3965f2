"""A loss that is not finite stops the run and leaves the batch that did it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from kdguard.distill.students.fleet import train_fleet
from kdguard.distill.students.order import step_rows
from kdguard.distill.students.plan import Mix, Plan, Slot
from kdguard.distill.students.weights import initial_weights, to_transformers
from kdguard.errors import TrainingError
from tests.distill.students.made import SHAPE, data

PLAN = Plan(steps=8, rows=2, report_every=4)


def test_the_batch_is_saved_and_named(tmp_path: Path) -> None:
    start = to_transformers(initial_weights(SHAPE, 0), SHAPE)
    given = data(0, soft="topk")
    odd = given.tokens[step_rows([Slot(name="x", data=given, seed=2)], PLAN, 2)[0, 0]].max()
    start["model.embed_tokens.weight"][int(odd)] = torch.inf  # the first batch with this token breaks the run
    slots = [
        Slot(name="sound", data=given, seed=1),
        Slot(name="odd", data=given, seed=2, start=start, mix=Mix(text=0.5, soft=0.5)),
    ]
    with pytest.raises(
        TrainingError, match=r"of 'odd' was not finite at step \d+; its batch is in .*broken-step"
    ):
        train_fleet(SHAPE, slots, PLAN, folder=tmp_path)
    (found,) = tmp_path.glob("broken-step-*")
    described = json.loads((found / "batch.json").read_text())
    batch = load_file(found / "batch.safetensors")
    rows = step_rows(slots, PLAN, described["step"])[:, 1].ravel()
    assert described["slot"] == "odd"
    assert described["rows"] == rows.tolist()
    np.testing.assert_array_equal(batch["tokens"], given.tokens[rows])
    assert len(batch["soft_ids"]) == (batch["soft_rows"] >= 0).sum()
    assert not list(tmp_path.glob("step-*"))  # no checkpoint holds spoilt weights


def test_a_run_without_a_folder_saves_it_too() -> None:
    slot = Slot(name="a", data=data(), learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"lower the learning rate \(1e\+30\)") as caught:
        train_fleet(SHAPE, [slot], replace(PLAN, clip=1e30, warmup=0.0))
    place = Path(str(caught.value).split("its batch is in ")[1].split(". ")[0])
    assert (place / "batch.safetensors").is_file()
