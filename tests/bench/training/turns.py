"""How a loop in a process of its own talks with the benchmark: one JSON object a line, on its first output.

The loop asks for the steps of its next turn, runs them, says so, and asks again. The clock is here, so that it is the
same for all. Needs torch alone.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


class Turns:
    """The loop's side.

    Args:
        device: Where the loop runs.

    What libraries print goes to the error output from here on.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self.built = time.perf_counter()
        self.start = self._clock()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
        else:
            torch.set_num_threads(1)
            self.resting = _resident_bytes(reset=True)

    def ready(self, loss: float, norm: float) -> None:
        """Say that the loop is built, with loss and gradient norm of the first batch under the first weights."""
        self._say({"loss": loss, "norm": norm, "build_s": time.perf_counter() - self.built})

    def next(self, loss: Callable[[], float]) -> int | None:
        """Steps of the next turn; None = stop. On the way answers what the loss of the first batch is by now."""
        for line in sys.stdin:
            told = json.loads(line)
            if "steps" in told:
                self.start = self._clock()
                return int(told["steps"])
            if "loss" in told:
                self._say({"loss": loss()})
            else:
                self._say({"peak_bytes": self._peak()})
                return None
        return None

    def done(self) -> None:
        """Say that the turn is over."""
        wall, cpu = (now - then for now, then in zip(self._clock(), self.start, strict=True))
        self._say({"wall_s": wall, "cpu_s": cpu})

    def _say(self, told: dict[str, Any]) -> None:
        self.out.write(json.dumps(told) + "\n")
        self.out.flush()

    def _clock(self) -> tuple[float, float]:
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter(), time.process_time()

    def _peak(self) -> int:
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated()
        return _resident_bytes(reset=False) - self.resting


def _resident_bytes(*, reset: bool) -> int:
    """Most memory this process has held since the last reset, where the kernel tells; what it holds after a reset."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return 0
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def run(turns: Turns, step: Callable[[], object], loss: Callable[[], float]) -> None:
    """Serve turns with a loop that can be run step by step."""
    while (steps := turns.next(loss)) is not None:
        for _ in range(steps):
            step()
        turns.done()
