"""`kdguard audit`: keys, commitments, and verdicts that a stranger can check. One file a command."""

from __future__ import annotations

import typer

from kdguard.cli.audit.commit import commit
from kdguard.cli.audit.keys import app as keys_app
from kdguard.cli.audit.sign import sign
from kdguard.cli.audit.verify import verify

app = typer.Typer(help="Commit to keys, sign verdicts, verify them elsewhere.", no_args_is_help=True)
for command in (commit, sign, verify):
    app.command(command.__name__)(command)
app.add_typer(keys_app, name="keys")


@app.callback()
def _audit() -> None:
    """Commit to keys, sign verdicts, verify them elsewhere."""
