"""Options that the commands around the ledger share."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

Keys = Annotated[
    Path | None, typer.Option("--keys", help="Key store; else KDGUARD_KEYS.", file_okay=False, metavar="DIR")
]
LedgerDirectory = Annotated[
    Path, typer.Option("--ledger", help="Directory of the public ledger.", file_okay=False, metavar="DIR")
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]


def now() -> datetime:
    """The time, at the edge of the program."""
    return datetime.now(UTC)
