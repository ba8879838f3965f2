"""``kdguard convert``: any log to the Parquet that scores fastest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer
from rich.console import Console


def convert(
    logs: Annotated[list[str], typer.Argument(help="Files, globs, directories, or - for stdin.")],
    to: Annotated[Path, typer.Option("--to", help="Parquet file to write.", dir_okay=False)],
    format: Annotated[str, typer.Option("--format", help="Format, mapping:FILE.toml, or auto.")] = "auto",
    account: Annotated[str | None, typer.Option(help="Field with the account, or =VALUE for all.")] = None,
    time: Annotated[str | None, typer.Option(help="Field with the time, or 'file' for file time.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Write every reject to FILE, as JSON lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Write a log as Parquet, the form that scores fastest.

    Exit status: 0 written, 2 bad usage or unreadable input.
    """
    from kdguard.errors import InputError
    from kdguard.exchanges import store
    from kdguard.readers import Rejects, read

    talk = Console(stderr=True, highlight=False)
    try:
        with Rejects(rejects) as counted:
            rows = store.write(
                read(logs, format, account=account, time=time, rejects=counted, batch_rows=16_384), to
            )
    except InputError as error:
        talk.print(str(error), style="red", markup=False)
        raise typer.Exit(2) from error
    except OSError as error:
        talk.print(f"{error.filename or rejects}: {error.strerror}", style="red", markup=False)
        raise typer.Exit(2) from error
    if as_json:
        told = {"to": str(to), "exchanges": rows, "rejects": dict(counted.counts), "skipped": counted.skipped}
        typer.echo(orjson.dumps(told).decode())
        return
    talk.print(f"{rows:,} exchanges written to {to}", markup=False)
    if counted.total:
        talk.print(f"{counted.total:,} lines could not be read:", style="yellow")
        for message in counted.messages():
            talk.print(f"  {message}", markup=False)
