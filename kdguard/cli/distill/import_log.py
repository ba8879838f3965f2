"""`kdguard distill import`: a log to a transcript folder, as managed distillation services take it."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer


class Mode(StrEnum):
    """What is taken from the log."""

    PROMPT_ONLY = "prompt-only"
    PAIRS = "pairs"


def import_log(
    logs: Annotated[list[str], typer.Argument(help="Files, globs, directories, or - for stdin.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.", file_okay=False)],
    format: Annotated[str, typer.Option("--format", help="openai-stored, bedrock, ..., or auto.")] = "auto",
    metadata: Annotated[
        list[str] | None, typer.Option("--metadata", help="KEY=VALUE that a record must carry; repeatable.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", help="Only answers of this model.")] = None,
    mode: Annotated[Mode, typer.Option("--mode", help="Prompts alone, or with their answers.")] = Mode.PAIRS,
    limit: Annotated[int, typer.Option("--limit", help="Most prompts or pairs.", min=1)] = 15_000,
    rejects: Annotated[Path | None, typer.Option(help="Write every reject to FILE, as JSON lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Turn stored completions, Bedrock invocation logs or any other log into transcripts.

    Exit status: 0 written, 2 bad usage, unreadable input, or nothing left to import.
    """
    from kdguard.cli.render import report_rejects
    from kdguard.distill.transcripts import imports
    from kdguard.readers import Rejects

    with Rejects(rejects) as counted:
        done = imports.import_log(
            logs,
            out,
            format=format,
            metadata=_pairs(metadata or []),
            model=model,
            mode=imports.Mode(mode.value),
            limit=limit,
            rejects=counted,
        )
    if as_json:
        told = {"out": str(out), "requests": done.requests, "records": done.records}
        told |= {"with_tokens": done.with_tokens, "dropped": done.dropped, "rejects": done.rejects}
        typer.echo(orjson.dumps(told).decode())
        return
    what = "prompts" if mode is Mode.PROMPT_ONLY else f"pairs, {done.with_tokens:,} of them with tokens,"
    typer.echo(f"{done.records:,} {what} of {done.requests:,} requests written to {out}", err=True)
    for reason, count in done.dropped.items():
        typer.echo(f"  left out: {count:,} {reason.replace('_', ' ')}", err=True)
    report_rejects(counted)


def _pairs(given: list[str]) -> dict[str, str]:
    pairs = dict(pair.partition("=")[::2] for pair in given if "=" in pair[1:])
    if len(pairs) < len(given):
        raise typer.BadParameter(f"must be KEY=VALUE, each key once; got {given}", param_hint="--metadata")
    return pairs
