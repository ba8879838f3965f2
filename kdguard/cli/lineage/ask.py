"""`kdguard lineage ask`: put the probes to a teacher, a control or a suspect, and keep the answers."""

from __future__ import annotations

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
    endpoint,
    probes_of,
)

if TYPE_CHECKING:
    import pandas as pd

    from kdguard.lineage.drift import Drift

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
    from kdguard.errors import LineageError
    from kdguard.lineage.asking import SEALED, Asking, Manner, about_answers
    from kdguard.lineage.drift import asked_again, drift

    chosen, manner = probes_of(probes), Manner(max_tokens=max_tokens, temperature=temperature, system=system)
    drawn = chosen.drawn(seed, count)
    calls = {"key_variable": key_variable, "owned": owned, "permission": permission}
    pace = {"requests_per_minute": requests_per_minute, "concurrency": concurrency}
    found: Drift | None = None
    with (
        endpoint(url, model, **calls, **pace) as asked,  # type: ignore[arg-type]
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
        answers = asking(drawn)
        if asking.stopped_by == SEALED:
            raise LineageError(
                f"{out}: was closed with {len(answers)} of {len(drawn)} prompts; use another folder"
            )
        whole = len(answers) == len(drawn)
        if again and asking.stopped_by is None and whole:
            second = asking(drawn[: asked_again(len(drawn))], again=True)
            both = answers.merge(second, on="prompt_id", suffixes=("", "_again"))
            names = [*answers["answered_as"], *second["answered_as"]]
            found = drift(list(both["response"]), list(both["response_again"]), names=names, seed=seed)
        write_answers(answers, name or model, out)
        if whole and asking.stopped_by is None:
            writer.seal(spent=asking.spent.record(), permission=asked.permission.record())
    _tell(out, answers, len(drawn), asking.stopped_by, found)
    raise typer.Exit(int(found is not None and found.changed))


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
