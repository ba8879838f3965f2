"""``kdguard inspect``: what is in a log, which detectors can run on it, and what could be claimed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import orjson
import typer


def inspect(
    logs: Annotated[list[str], typer.Argument(help="Files, globs, directories, or - for stdin.")],
    format: Annotated[str, typer.Option("--format", help="Format, mapping:FILE.toml, or auto.")] = "auto",
    account: Annotated[str | None, typer.Option(help="Field with the account, or =VALUE for all.")] = None,
    time: Annotated[str | None, typer.Option(help="Field with the time, or 'file' for file time.")] = None,
    baseline: Annotated[Path | None, typer.Option(help="Say what could be claimed with this one.")] = None,
    rejects: Annotated[Path | None, typer.Option(help="Write every reject to FILE, as JSON lines.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Tell what is in a log: files, columns, accounts, rejects, which detectors can run, what can be claimed.

    Exit status: 0 read, 2 bad usage or unreadable input.
    """
    from kdguard.cli.abilities import abilities, possible_claims, third_party
    from kdguard.cli.inspected import sections
    from kdguard.cli.render import print_error, print_sections
    from kdguard.errors import InputError
    from kdguard.readers import Rejects, read
    from kdguard.readers.summary import Summary

    summary = Summary()
    try:
        with Rejects(rejects) as counted:
            for batch in read(logs, format, account=account, time=time, rejects=counted):
                summary.add(batch)
        claims = possible_claims(summary.accounts_with(10), baseline)
    except (InputError, OSError) as error:
        print_error(error)
        raise typer.Exit(2) from error
    told = summary.told() | {"skipped": counted.skipped, "rejects": dict(counted.counts)}
    told |= {"files": [{"file": name} | asdict(count) for name, count in counted.files.items()]}
    told |= {"examples": counted.messages(6), "detectors": abilities(told["columns"])}
    told |= {"claims": claims, "third_party": third_party()}
    if as_json:
        typer.echo(orjson.dumps(told).decode())
    else:
        print_sections(sections(summary, told, baseline))
