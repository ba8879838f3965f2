"""``kdguard inspect``: what is in a log, and which detectors can run on it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

# Detector group -> groups of columns, of each of which one must be filled -> what to do if not.
REQUIREMENTS: tuple[tuple[str, tuple[tuple[str, ...], ...], str], ...] = (
    ("any verdict on accounts", (("account_id",),), "give --account FIELD, or --account =NAME for one account"),
    ("technique, template, coverage, drift", (("prompt",),), "log prompts; without them only metadata speaks"),
    ("tempo, ramp, synchrony", (("time",),), "give --time FIELD, or --time file"),
    ("events: pivots, failover, sweeps", (("time",), ("model",), ("status", "refused")), "log model and status"),
    (
        "coordination by metadata",
        (("client_ip", "user_agent", "tls_fingerprint", "key_hash"),),
        "log an address, a user agent or a key hash; or join an accounts table",
    ),
    ("label and logprob harvesting", (("logprobs", "n", "logit_bias"),), "log the request parameters"),
)


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
        Console(stderr=True, highlight=False).print(str(error), style="red", markup=False)
        raise typer.Exit(2) from error
    told = summary.told() | {"skipped": counted.skipped, "rejects": dict(counted.counts)}
    told |= {"examples": counted.messages(), "detectors": abilities(told["columns"])}
    if as_json:
        typer.echo(orjson.dumps(told).decode())
    else:
        _show(told, Console(highlight=False))


def abilities(columns: dict[str, float]) -> list[dict[str, Any]]:
    """For each group of detectors: the share of rows it could use, and what to do if there are none."""
    found = []
    for name, groups, advice in REQUIREMENTS:
        usable = min(max(columns.get(column, 0.0) for column in group) for group in groups)
        found.append({"detectors": name, "usable": usable, "advice": None if usable else advice})
    return found


def _show(told: dict[str, Any], console: Any) -> None:
    from rich.table import Table

    def table(title: str, rows: list[tuple[str, str]]) -> None:
        grid = Table(title=title, title_justify="left", title_style="bold", show_header=False, box=None)
        for row in rows or [("none", "")]:
            grid.add_row(*row)
        console.print(grid, markup=False)

    names = ", ".join(f"{name} ({count:,})" for name, count in told["formats"].items())
    about = "" if told["accounts_exact"] else "about "
    facts = [("exchanges", f"{told['exchanges']:,}   {names}"), ("time", f"{told['first']} to {told['last']}")]
    facts.append(("accounts", f"{about}{told['accounts']:,}; {told['unattributed']:,} rows without one"))
    facts += [(key.replace("_", " "), f"{told[key]:,}") for key in ("truncated", "content_missing", "skipped")]
    table("In the log", facts)
    filled = [f"{name} {share:.0%}" for name, share in told["columns"].items()]
    table("Columns, by share of rows that have them", [(", ".join(filled), "")])
    most = max(told["accounts_by_requests"].values(), default=0) or 1
    bars = {k: (f"{n:,}", "█" * -(-30 * n // most)) for k, n in told["accounts_by_requests"].items() if n}
    table("Accounts by number of exchanges", [(label, f"{n:>7} {bar}") for label, (n, bar) in bars.items()])
    can = [(a["detectors"], f"{a['usable']:.0%}" if a["usable"] else a["advice"]) for a in told["detectors"]]
    table("Detectors: share of rows they can use, or what is missing", can)
    if told["rejects"]:
        table("Lines that could not be read", [(f"{n:,}", rule) for rule, n in told["rejects"].items()])
        table("For instance", [(message, "") for message in told["examples"]])
