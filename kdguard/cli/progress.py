"""Progress of long work on a terminal: a bar a stage, and for training its loss, tokens a second and time left."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdguard.distill.students.fleet import Report


class StageBars:
    """Bars on stderr; nothing in a pipe."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        told = TextColumn("{task.fields[told]}", style="dim")
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), told
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> StageBars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def stage(self, name: str, done: int, total: int) -> None:
        """A stage has come so far."""
        self._update(name, done, total, "")

    def report(self, name: str, report: Report) -> None:
        """Training has come so far."""
        left = timedelta(seconds=round(report.seconds_left))
        told = f"loss {report.loss:.4f}  {report.tokens_per_s:,.0f} tokens/s  {left} left"
        self._update(f"train {name}", report.step, report.steps, told)

    def _update(self, name: str, done: int, total: int, told: str) -> None:
        if name not in self._tasks:
            self._tasks[name] = self._progress.add_task(name, total=total, told=told)
        self._progress.update(self._tasks[name], completed=done, told=told)


def one_thread() -> None:
    """Small models run fastest on one thread, and repeat their bytes; OMP_NUM_THREADS wins."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
