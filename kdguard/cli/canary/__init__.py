"""`kdguard canary`: plan marks for accounts, and look for them in a suspect's answers. One file a command."""

from __future__ import annotations

import typer

from kdguard.cli.canary.ask import ask
from kdguard.cli.canary.classifiers import sinusoid_app, triggers_app
from kdguard.cli.canary.plan import plan
from kdguard.cli.canary.verify import verify

app = typer.Typer(
    help="Plan canaries for accounts; look for them in a suspect's answers.", no_args_is_help=True
)
for command in (plan, ask, verify):
    app.command(command.__name__)(command)
app.add_typer(triggers_app, name="triggers")
app.add_typer(sinusoid_app, name="sinusoid")


@app.callback()
def _canary() -> None:
    """Plan canaries for accounts; look for them in a suspect's answers."""
