"""`kdguard lineage`: does a suspect descend from a teacher? One file a command."""

from __future__ import annotations

import typer

from kdguard.cli.lineage.ask import ask
from kdguard.cli.lineage.labels import labels
from kdguard.cli.lineage.logprobs import logprobs
from kdguard.cli.lineage.probes import probes
from kdguard.cli.lineage.read import read
from kdguard.cli.lineage.served import served
from kdguard.cli.lineage.stored import examine
from kdguard.cli.lineage.verify import verify
from kdguard.cli.lineage.weights import weights

app = typer.Typer(help="Test whether a suspect model descends from a teacher.", no_args_is_help=True)
app.command("test")(examine)
app.command("labels")(labels)
app.command("logprobs")(logprobs)
app.command("weights")(weights)
app.command("read")(read)
app.command("served")(served)
app.command("ask")(ask)
app.command("probes")(probes)
app.command("verify")(verify)


@app.callback()
def _lineage() -> None:
    """Test whether a suspect model descends from a teacher."""
