"""``kdguard inspect``: what is in a log, and which detectors can run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

# Detector group -> groups of columns, of each of which one must be filled -> what to do if not.
REQUIREMENTS: tuple[tuple[str, tuple[tuple[str, ...], ...], str], ...] = (
    ("any verdict on accounts", (("account_id",),), "--account FIELD, or --account =NAME for one account"),
    (
        "technique, template, coverage, drift",
        (("prompt",),),
        "log prompts: only metadata speaks without them",
    ),
    ("tempo, ramp, synchrony", (("time",),), "--time FIELD, or --time file"),
    (
        "events: pivot, failover, sweep",
        (("time",), ("model",), ("status", "refused")),
        "log model and status",
    ),
    (
        "coordination by metadata",
        (("client_ip", "user_agent", "tls_fingerprint", "key_hash"),),
        "log an address, user agent or key hash",
    ),
    ("label and logprob harvesting", (("logprobs", "n", "logit_bias"),), "log the request parameters"),
)
_STYLES = {"runs": "green", "abstains": "yellow"}


def inspect(
    logs: Annotated[list[str], typer.Argument(help="Files, globs, directories, or - for stdin.")],
    format: Annotated[str, typer.Option("--format", help="Format, mapping:FILE.toml, or auto.")] = "auto",
    account: Annotated[str | None, typer.Option(help="Field with the account, or =VALUE for all.")] = None,
    time: Annotated[str | None, typer.Option(help="Field with the time, or 'file' for file time.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Write every reject to FILE, as JSON lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Tell what is in a log: format, columns, accounts, rejects, and which detectors can run.

    Exit status: 0 read, 2 bad usage or unreadable input.
    """
    from rich.console import Console

    from kdguard.errors import InputError
    from kdguard.readers import Rejects, read
    from kdguard.readers.summary import Summary

    summary = Summary()
    try:
        with Rejects(rejects) as counted:
            for batch in read(logs, format, account=account, time=time, rejects=counted):
                summary.add(batch)
    except (InputError, OSError) as error:
        Console(stderr=True, highlight=False).print(str(error), style="red", markup=False, soft_wrap=True)
        raise typer.Exit(2) from error
    told = summary.told() | {"skipped": counted.skipped, "rejects": dict(counted.counts)}
    told |= {"examples": counted.messages(6), "detectors": abilities(told["columns"])}
    if as_json:
        typer.echo(orjson.dumps(told).decode())
    else:
        sections = summary.sections()
        sections.append(("Detectors", [(a["detectors"], a["state"], a["note"]) for a in told["detectors"]]))
        if counted.total:
            bad = [(f"{n:,}", rule) for rule, n in counted.counts.items()]
            sections.append(("Rejected", [*bad, *(("", message) for message in told["examples"])]))
        _show(sections, Console(highlight=False))


def abilities(columns: dict[str, float]) -> list[dict[str, Any]]:
    """For each group of detectors: the share of exchanges it can use, and what to do if that is none."""
    found = []
    for name, groups, advice in REQUIREMENTS:
        usable = min(max(columns.get(column, 0.0) for column in group) for group in groups)
        state, note = ("runs", f"on {usable:.0%} of exchanges") if usable else ("abstains", advice)
        found.append({"detectors": name, "state": state, "note": note, "usable": usable})
    return found


def _show(sections: list[tuple[str, list[tuple[str, ...]]]], console: Any) -> None:
    from rich.table import Table
    from rich.text import Text

    for title, rows in sections:
        console.rule(f"[bold]{title}", align="left", style="dim")
        grid = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 1))
        for row in rows:
            grid.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        console.print(grid)
