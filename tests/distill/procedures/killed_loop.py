"""A run of the plain loop that kills itself: `python -m tests.distill.procedures.killed_loop FAMILY FOLDER STEP`."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from kdguard.distill.procedures.loop import Outcome, Pace, run_loop
from tests.distill.procedures.made import FAMILIES, PLAN, SEED

KILLED = ("adversarial",)
"""Two modules, a state of its own, and draws: all that a resumed run must put back."""


def run(family: str, folder: Path | None, last: int = 0) -> tuple[Outcome, dict[str, Tensor]]:
    torch.set_num_threads(1)
    plan = replace(PLAN, steps=6, checkpoint_every=2, report_every=3)
    procedure = FAMILIES[family](plan)
    after = procedure.after

    def dying(done: int) -> None:
        after(done)
        if done == last:
            os.kill(os.getpid(), signal.SIGKILL)

    outcome = run_loop(replace(procedure, after=dying), plan, Pace(seed=SEED), folder=folder)
    return outcome, {
        f"{owner}.{name}": weight.detach()
        for owner, module in procedure.modules.items()
        for name, weight in module.named_parameters()
    }


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))
