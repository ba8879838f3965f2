"""`kdguard distill sizes`: what a token costs on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer


def sizes(
    folder: Annotated[Path, typer.Argument(help="Sealed transcript folder.", file_okay=False)],
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Tell the bytes a token of a transcript folder, column by column.

    Exit status: 0 told, 2 bad usage or no sealed transcripts.
    """
    from kdguard.distill.transcripts.sizes import measure

    told = measure(folder).told()
    if as_json:
        typer.echo(orjson.dumps({"folder": str(folder)} | told).decode())
        return
    kinds = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in told["kinds"].items())
    typer.echo(
        f"{told['requests']:,} requests, {told['exchanges']:,} exchanges, {told['tokens']:,} tokens ({kinds})"
    )
    typer.echo(f"exchanges  {told['exchanges_bytes']:>12,} bytes")
    typer.echo(f"tokens     {told['tokens_bytes']:>12,} bytes")
    if not told["tokens"]:
        return
    typer.echo(f"\n{told['bytes_per_token']:8.2f} bytes a token, {told['alternatives']:g} alternatives each")
    columns = sorted(told["columns_bytes_per_token"].items(), key=lambda pair: -pair[1])
    for name, size in columns:
        if size >= 0.01:
            typer.echo(f"{size:8.2f}   {name}")
