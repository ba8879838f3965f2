"""`kdguard watermark ask`: what a model says to prompts, for the tests of what it learnt."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli import suspects


def ask(
    prompts: Annotated[Path, typer.Argument(help="Table with a column prompt, e.g. a log.", exists=True)],
    suspect: suspects.Suspect,
    out: suspects.AnswersFile,
    most: Annotated[int, typer.Option(min=1, help="Most prompts, the first of the table.")] = 1000,
    times: suspects.Times = 1,
    max_tokens: suspects.MaxTokens = 128,
    with_prompts: Annotated[
        bool,
        typer.Option(
            "--with-prompts", help="Write prompts too: they may bear the mark, and a copy of it is innocent."
        ),
    ] = False,
    model: suspects.ModelName = None,
    api_key_variable: suspects.ApiKeyVariable = None,
    permission: suspects.Permission = None,
) -> None:
    """Write answers of a suspect, or of a clean model, as the other watermark commands read them.

    Windows that prompts hold do not count in a test, and short windows stand in every prompt: ask with prompts that
    bear no mark, and leave them out.

    Exit status: 0 done, 2 bad usage, or a suspect that cannot be asked.
    """
    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.interview import answers

    asked = list(dict.fromkeys(str(prompt) for (prompt,) in read_rows(prompts, ["prompt"]) if prompt))[:most]
    who = suspects.open_suspect(suspect, model, api_key_variable, permission)
    said = answers(who, [(prompt, prompt) for prompt in asked], times=times, max_tokens=max_tokens)
    rows = (
        {"prompt": one.prompt, "response": one.response} if with_prompts else {"response": one.response}
        for one in said
    )
    typer.echo(f"{out}: {suspects.write_rows(rows, out):,} answers", err=True)
