"""A run that is killed goes on and ends with the same bytes; what cannot be resumed is refused with the reason."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from kdguard.distill.students import checkpoints
from kdguard.distill.students.checkpoints import (
    Checkpoint,
    latest_checkpoint,
    load_checkpoint,
    save_checkpoint,
)
from kdguard.distill.students.fleet import Fleet, train_fleet
from kdguard.errors import TrainingError
from tests.distill.students.killed_run import PLAN, run, slots
from tests.distill.students.made import SHAPE

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def uninterrupted() -> Fleet:
    return run(None)


def killed(folder: Path, *arguments: int) -> None:
    command = [sys.executable, "-m", "tests.distill.students.killed_run", str(folder), *map(str, arguments)]
    assert subprocess.run(command, cwd=ROOT, check=False, timeout=600).returncode == -9


@pytest.mark.parametrize("arguments", [(10,), (0, 8)], ids=["between steps", "while a checkpoint is written"])
def test_a_killed_run_ends_with_the_same_bytes(
    arguments: tuple[int, ...], tmp_path: Path, uninterrupted: Fleet
) -> None:
    killed(tmp_path, *arguments)
    saved = sorted(path.name for path in tmp_path.glob("step-*"))
    assert saved[-1] == ("step-000000008" if len(arguments) == 1 else "step-000000004")
    resumed = run(tmp_path)
    for name, weight in uninterrupted.stacked.items():
        assert weight.numpy().tobytes() == resumed.stacked[name].numpy().tobytes()
    assert run(tmp_path).stacked.keys() == uninterrupted.stacked.keys()  # a finished run has nothing to do


def test_checkpoints_are_kept_two_deep_and_read_back(tmp_path: Path) -> None:
    for step in (5, 10, 15):
        save_checkpoint(
            Checkpoint("run", step, {"a": torch.full((2,), float(step))}, {"history": [step]}), tmp_path
        )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000010", "step-000000015"]
    found = latest_checkpoint(tmp_path, "run")
    assert found is not None
    assert (found.step, found.notes, found.tensors["a"].tolist()) == (15, {"history": [15]}, [15.0, 15.0])
    assert latest_checkpoint(tmp_path / "elsewhere", "run") is None


def test_a_checkpoint_of_another_version_is_refused(tmp_path: Path) -> None:
    path = save_checkpoint(Checkpoint("run", 1, {"a": torch.zeros(1)}), tmp_path)
    described = json.loads((path / "checkpoint.json").read_text())
    (path / "checkpoint.json").write_text(json.dumps(described | {"checkpoint_version": 2}))
    with pytest.raises(
        TrainingError, match="version 2, this kdguard reads version 1; go on with the kdguard that"
    ):
        latest_checkpoint(tmp_path, "run")


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(TrainingError, match=r"belongs to another run .*data, seed, objective or plan differ"):
        train_fleet(SHAPE, [replace(slot, learning_rate=1.0) for slot in slots()], PLAN, folder=tmp_path)
    again = train_fleet(SHAPE, slots(), replace(PLAN, report_every=1), folder=tmp_path)
    assert again.history[-1][0] == PLAN.steps  # how often to report is no part of a run


def test_a_damaged_checkpoint_gives_way_to_the_one_before(tmp_path: Path) -> None:
    for step in (1, 2):
        save_checkpoint(Checkpoint("run", step, {"a": torch.zeros(8)}), tmp_path)
    tensors = tmp_path / "step-000000002" / "tensors.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-4] + b"junk")
    found = latest_checkpoint(tmp_path, "run")
    assert found is not None
    assert found.step == 1
    with pytest.raises(TrainingError, match="is not what was written"):
        load_checkpoint(tmp_path / "step-000000002")
    for each in tmp_path.iterdir():
        (each / "checkpoint.json").write_text("{")
    with pytest.raises(TrainingError, match=r"no checkpoint in .* can be read"):
        latest_checkpoint(tmp_path, "run")


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_checkpoint(Checkpoint("run", 1, {"a": torch.zeros(1)}), tmp_path)

    def full(tensors: object, path: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints, "save_file", full)
    with pytest.raises(TrainingError, match="No space left on device; free some space and run again"):
        save_checkpoint(Checkpoint("run", 2, {"a": torch.zeros(1)}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]
