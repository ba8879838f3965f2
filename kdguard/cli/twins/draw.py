"""`kdguard twins draw`: two honest answers of a model to each of some prompts, for every account."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli import suspects


def draw(
    prompts: Annotated[
        Path,
        typer.Option(help="Table with a column prompt, e.g. a log: what customers ask often.", exists=True),
    ],
    accounts: Annotated[
        Path, typer.Option(help="Table with a column account_id: who may be answered.", exists=True)
    ],
    teacher: Annotated[Path, typer.Option(help="Folder of the model that answers.", file_okay=False)],
    out: Annotated[Path, typer.Option(help="Candidates to write, JSON lines.", dir_okay=False)],
    most: Annotated[int, typer.Option(min=1, help="Most prompts, the first of the table.")] = 1000,
    max_tokens: suspects.MaxTokens = 128,
) -> None:
    """Draw two different answers to each prompt; 'twins plan --candidates' flips the coins.

    A prompt to which the model always says the same is left out.
    Exit status: 0 done, 2 bad usage, or nothing to tell apart.
    """
    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.twins.planning import candidates_of
    from kdguard.distill.teachers.local import LocalTeacher

    asked = list(dict.fromkeys(str(prompt) for (prompt,) in read_rows(prompts, ["prompt"]) if prompt))[:most]
    who = [str(name) for (name,) in read_rows(accounts, ["account_id"])]
    found = candidates_of(LocalTeacher.load(teacher), asked, who, max_tokens=max_tokens)
    names = ("request_id", "account_id", "prompt", "answer_0", "answer_1")
    count = suspects.write_rows((dict(zip(names, row, strict=True)) for row in found), out)
    typer.echo(f"{out}: {count:,} candidates, {len(asked):,} prompts, {len(who):,} accounts", err=True)
