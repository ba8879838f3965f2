"""`kdguard baseline`: learn what honest traffic looks like."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def baseline(
    logs: Annotated[
        list[str], typer.Argument(help="Logs of mostly honest traffic: files, globs or folders.")
    ],
    out: Annotated[Path, typer.Option(help="Where to write the baseline.")],
    log_format: Annotated[str, typer.Option("--format", help="Log format; `auto` sniffs.")] = "auto",
    accounts: Annotated[Path | None, typer.Option(help="Accounts table: CSV, JSON lines or Parquet.")] = None,
    account: Annotated[str | None, typer.Option(help="Field that names the account, or =VALUE.")] = None,
    time: Annotated[str | None, typer.Option(help="Field that holds the time, or `file`.")] = None,
    exclude: Annotated[Path | None, typer.Option(help="Accounts to leave out, one id a line.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split into teaching and calibration.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    lateness: Annotated[
        float | None, typer.Option(min=0, metavar="HOURS", help="As `kdguard score` will be given.")
    ] = None,
) -> None:
    """Learn a baseline from a month of your own traffic. Thieves you know of: name them with --exclude."""
    import kdguard
    from kdguard.cli.session import bound_of, check_places
    from kdguard.detectors import default_suite
    from kdguard.readers.log import open_log
    from kdguard.scoring.facts import read_account_ids, read_accounts
    from kdguard.scoring.store import save_baseline

    if "-" in logs:
        raise typer.BadParameter("a baseline reads its log twice, so it cannot come from standard input")
    check_places(out)
    table = read_accounts(accounts) if accounts else None
    left_out = read_account_ids(exclude) if exclude else []
    bound = bound_of(lateness)
    log = open_log(logs, log_format, account=account, time=time, in_arrival_order=bound is not None)
    learnt = kdguard.learn_baseline(
        log, table, default_suite(), exclude=left_out, seed=seed, workers=workers, lateness=bound
    )
    saved = save_baseline(learnt, out)
    for name, kind in learnt.kinds.items():
        typer.echo(f"{name}: {len(kind.panel)} calibration owners", err=True)
    typer.echo(f"{out}  sha256:{saved.digest}")
