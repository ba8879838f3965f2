"""`kdguard lineage ask`: put the probes to a teacher, a control or a suspect, and keep the answers."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kdguard.cli.lineage.options import (
    Concurrency,
    KeyVariable,
    MaxTokens,
    Owned,
    Permission,
    ProbesFile,
    RequestsPerMinute,
    Seed,
    System,
    Temperature,
    TokenBudget,
    key_in,
    probes_of,
)
from kdguard.distill.teachers.reach import Reach
from kdguard.errors import LineageError

if TYPE_CHECKING:
    import pandas as pd

    from kdguard.lineage.asking import Asking
    from kdguard.lineage.drift import Drift
    from kdguard.lineage.probes import Probe

RESPONSES_FILE = "responses.parquet"


def ask(
    url: Annotated[str, typer.Option(help="Address of an OpenAI-compatible API, with its version.")],
    model: Annotated[str, typer.Option(help="Model to ask for.")],
    out: Annotated[Path, typer.Option(help="Folder for the answers; go on where it was.", file_okay=False)],
    name: Annotated[str | None, typer.Option(help="Name in the table of answers; MODEL by default.")] = None,
    probes: ProbesFile = None,
    count: Annotated[int | None, typer.Option(min=1, help="Prompts to ask; all by default.")] = None,
    seed: Seed = 0,
    again: Annotated[
        bool, typer.Option("--again/--no-again", help="Ask some prompts twice, to see a change of model.")
    ] = True,
    key_variable: KeyVariable = None,
    owned: Owned = None,
    permission: Permission = None,
    max_tokens: MaxTokens = 512,
    temperature: Temperature = 1.0,
    system: System = None,
    requests_per_minute: RequestsPerMinute = None,
    concurrency: Concurrency = 8,
    token_budget: TokenBudget = None,
) -> None:
    """Ask a model the probes and write OUT/responses.parquet for 'kdguard lineage test --responses'.

    Teachers, controls and suspects are to be asked alike: same prompts, same limit, same temperature. Every answer is
    kept as an exchange as soon as it is there; the same command goes on after a crash and asks nothing twice.

    Exit status: 0 done, 1 the endpoint changed its model, 2 bad usage, nothing answered, or an address not permitted.
    """
    from kdguard.cli.progress import StageBars
    from kdguard.distill.teachers.budget import Budget
    from kdguard.distill.transcripts.writer import TranscriptWriter
    from kdguard.lineage.asking import Asking, Manner, about_answers

    chosen, manner = probes_of(probes), Manner(max_tokens=max_tokens, temperature=temperature, system=system)
    drawn = chosen.drawn(seed, count)
    reach = Reach(
        url=url,
        model=model,
        key=key_in(key_variable),
        owned=owned,
        permission=permission,
        requests_per_minute=requests_per_minute,
        concurrency=concurrency,
    )
    with (
        reach.opened() as asked,
        StageBars() as bars,
        TranscriptWriter(out, about=about_answers(chosen, seed, model, manner)) as writer,
    ):
        asking = Asking(
            asked,
            writer,
            manner,
            origin="teacher",
            now=lambda: datetime.now(UTC),
            budget=Budget(tokens=token_budget),
            say=lambda done, total: bars.stage("ask", done, total),
        )
        answers, found = _asked(asking, drawn, seed, out, again=again)
        write_answers(answers, name or model, out)
        if len(answers) == len(drawn) and asking.stopped_by is None:
            writer.seal(spent=asking.spent.record(), permission=asked.permission.record())
    _tell(out, answers, len(drawn), asking.stopped_by, found)
    raise typer.Exit(int(found is not None and found.changed))


def _asked(
    asking: Asking, drawn: Sequence[Probe], seed: int, out: Path, *, again: bool
) -> tuple[pd.DataFrame, Drift | None]:
    """Answers, and once all are there, what asking some prompts again showed."""
    from kdguard.lineage.asking import SEALED
    from kdguard.lineage.live import ask_again

    answers = asking(drawn)
    if asking.stopped_by == SEALED:
        raise LineageError(
            f"{out}: was closed with {len(answers)} of {len(drawn)} prompts; use another folder"
        )
    whole = len(answers) == len(drawn) and asking.stopped_by is None
    return answers, ask_again(asking, drawn, answers, seed) if again and whole else None


def write_answers(answers: pd.DataFrame, name: str, out: Path) -> None:
    """Write a table of answers in one step, so that none is ever half there."""
    import os

    written = out / f"{RESPONSES_FILE}.part"
    answers.assign(model=name).to_parquet(written, index=False)
    os.replace(written, out / RESPONSES_FILE)


def _tell(out: Path, answers: Any, wanted: int, stopped_by: str | None, found: Drift | None) -> None:
    typer.echo(f"{out / RESPONSES_FILE}: {len(answers):,} of {wanted:,} prompts answered", err=True)
    if stopped_by is not None:
        typer.echo(
            f"the budget of {stopped_by} ended; give the same command with a larger one to go on", err=True
        )
    elif len(answers) < wanted:
        typer.echo("some requests failed; the same command asks them again", err=True)
    if found is not None:
        typer.echo(found.reason, err=True)
