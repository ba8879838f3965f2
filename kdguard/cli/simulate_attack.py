"""`kdguard simulate attack`: a black-box attack from a recipe, with its log, transcripts, student and truth."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer


def attack(
    recipe: Annotated[str, typer.Argument(help="text, topk, rationale, classifier, or a TOML file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; go on where it was.", file_okay=False)],
    split: Annotated[str, typer.Option("--split", help="Texts to use: fit, calibration or test.")] = "test",
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="KDGUARD_DATA", exists=True, help="Folder with real prompts."),
    ] = None,
) -> None:
    """Attack a teacher as a customer would, and write what its owner and the thief would have.

    Needs the extra `distill`. Any address but this machine needs `owned` or `permission` in the recipe.

    Exit status: 0 done, 2 bad usage, an unusable recipe, or a teacher that may not be asked.
    """
    from kdguard.errors import KdguardError
    from kdguard.simulate.attack.recipe import load_recipe
    from kdguard.simulate.attack.run import Surroundings, run_attack
    from kdguard.simulate.pools import SPLITS

    chosen = next((known for known in SPLITS if known == split), None)
    if chosen is None:
        raise typer.BadParameter(f"must be one of {', '.join(SPLITS)}, got '{split}'", param_hint="--split")
    one_thread()
    try:
        with _Bar() as bar:
            around = Surroundings(split=chosen, data=data, say=bar)
            manifest = run_attack(load_recipe(recipe), out, around)
    except KdguardError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    counts, spent = manifest["counts"], manifest["spent"]
    told = f"{counts['attack_exchanges']:,} attack requests from {counts['attack_accounts']:,} accounts"
    told += f", {spent['tokens']:,} tokens, {spent['failed_requests']:,} failed"
    typer.echo(f"wrote {out}: {told}", err=True)


def one_thread() -> None:
    """Small models run fastest on one thread, and repeat their bytes; OMP_NUM_THREADS wins."""
    import torch

    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


class _Bar:
    """A progress bar a stage on a terminal; nothing in a pipe."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._progress = Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Bar:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=total)
        self._progress.update(self._tasks[stage], completed=done)
