"""`kdguard twins`: release one of two honest answers by a committed coin, and test what a suspect prefers."""

from __future__ import annotations

import typer

from kdguard.cli.twins.ask import ask
from kdguard.cli.twins.draw import draw
from kdguard.cli.twins.plan import plan
from kdguard.cli.twins.verify import verify

app = typer.Typer(
    help="Release one of two answers by a coin; test what a suspect prefers.", no_args_is_help=True
)
for command in (draw, plan, ask, verify):
    app.command(command.__name__)(command)


@app.callback()
def _twins() -> None:
    """Release one of two answers by a coin; test what a suspect prefers."""
