"""`kdguard distill`: transcripts from logs, what they cost, and students trained from them. One file a command."""

from __future__ import annotations

import typer

from kdguard.cli.distill.import_log import import_log
from kdguard.cli.distill.sizes import sizes

app = typer.Typer(help="Turn logs into transcripts, and transcripts into students.", no_args_is_help=True)
app.command("import")(import_log)
app.command("sizes")(sizes)


@app.callback()
def _distill() -> None:
    """Turn logs into transcripts, and transcripts into students."""
