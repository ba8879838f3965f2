"""`kdguard watermark`: find marks in text, and in what models learnt from it. One file a command."""

from __future__ import annotations

import typer

from kdguard.cli.watermark.ask import ask
from kdguard.cli.watermark.detect import detect
from kdguard.cli.watermark.follow import follow
from kdguard.cli.watermark.radioactivity import radioactivity

app = typer.Typer(help="Find watermarks in text, and in models that learnt from it.", no_args_is_help=True)
for command in (ask, detect, follow, radioactivity):
    app.command(command.__name__)(command)


@app.callback()
def _watermark() -> None:
    """Find watermarks in text, and in models that learnt from it."""
