"""`kdguard distill`: transcripts from logs, what they cost, and students trained from them. One file a command."""

from __future__ import annotations

import typer

from kdguard.cli.distill.evaluate import evaluate
from kdguard.cli.distill.import_log import import_log
from kdguard.cli.distill.sizes import sizes
from kdguard.cli.distill.train import train

app = typer.Typer(help="Turn logs into transcripts, and transcripts into students.", no_args_is_help=True)
app.command("import")(import_log)
app.command("sizes")(sizes)
app.command("train")(train)
app.command("evaluate")(evaluate)


@app.callback()
def _distill() -> None:
    """Turn logs into transcripts, and transcripts into students."""
