"""A training run that is killed from outside, or kills itself while a checkpoint is being written.

`python -m tests.distill.students.killed_run FOLDER STEP`: kill -9 right after optimiser step STEP; 0 = never. With a
third argument, die in the middle of writing the checkpoint of that step instead.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from kdguard.distill.students import checkpoints
from kdguard.distill.students.engine import Engine
from kdguard.distill.students.fleet import Fleet, train_fleet
from kdguard.distill.students.plan import Mix, Plan, Slot
from tests.distill.students.made import SHAPE, data

PLAN = Plan(steps=14, rows=4, micro_rows=2, checkpoint_every=4, report_every=3)


def slots() -> list[Slot]:
    return [
        Slot(name="one", data=data(0), seed=1),
        Slot(name="two", data=data(1, soft="topk"), mix=Mix(text=0.5, soft=0.5), seed=2),
    ]


def run(folder: Path | None) -> Fleet:
    torch.set_num_threads(1)
    return train_fleet(SHAPE, slots(), PLAN, folder=folder)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    folder, last = Path(sys.argv[1]), int(sys.argv[2])
    step = Engine.step

    def stepping(self: Engine, number: int) -> None:
        step(self, number)
        if number + 1 == last and len(sys.argv) < 4:
            die()

    def writing(tensors: Any, path: Any) -> None:
        save_file(tensors, path)
        if len(sys.argv) > 3 and int(sys.argv[3]) == int(tensors["step.embed"].max()):
            die()

    Engine.step = stepping  # type: ignore[method-assign]
    vars(checkpoints)["save_file"] = writing
    run(folder)


if __name__ == "__main__":
    main()
