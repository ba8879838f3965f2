"""`kdguard twins plan`: flip and commit the coins of an epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from kdguard.cli.audit.options import AsJson, Keys, LedgerDirectory, now


def plan(
    candidates: Annotated[
        Path,
        typer.Option(help="Table of request_id, account_id, prompt, answer_0, answer_1.", exists=True),
    ],
    epoch: Annotated[str, typer.Option(help="Name of the period, never used before, e.g. 2026-12.")],
    ledger: LedgerDirectory,
    out: Annotated[
        Path, typer.Option(help="twins.parquet to write; 'released' says what to serve.", dir_okay=False)
    ],
    keys: Keys = None,
    colluders: Annotated[
        int, typer.Option(help="Accounts thought to act together; above 1 coins are biased.", min=1)
    ] = 1,
    statistic: Annotated[str | None, typer.Option(help="rank or sign.")] = None,
    as_json: AsJson = False,
) -> None:
    """Commit to the coins, then write which answer each account gets, and say how many colluders the sites support.

    Exit status: 0 planned, 2 bad usage or unusable candidates.
    """
    from statistics import median_low

    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.twins.coins import colluders_supported
    from kdguard.detectors.twins.planning import CANDIDATES, commitments, plan_twins, write_plan
    from kdguard.ledger.keys import open_keys, place_of_keys
    from kdguard.ledger.log import append

    signer = open_keys(place_of_keys(keys)).current
    rows = [_candidate(row) for row in read_rows(candidates, CANDIDATES)]
    planned = plan_twins(signer, epoch, rows, colluders, statistic)
    moment = now()
    entries = commitments(planned, signer, moment)
    written = append(ledger, list(entries.values()), signer, moment)
    write_plan(planned, signer, entries, rows, out)
    sites = median_low([len(ids) for ids in planned.sites.values()])
    supported = colluders_supported(sites, len(planned.sites), fair=colluders == 1)
    told = {
        "epoch": epoch,
        "accounts": len(planned.sites),
        "rows": len(rows),
        "median_sites": sites,
        "statistic": planned.parameters["statistic"],
        "colluders_supported": supported,
        "head": written.heads[-1].as_json(),
    }
    if as_json:
        typer.echo(orjson.dumps(told).decode())
        return
    typer.echo(orjson.dumps(told["head"]).decode())
    support = (
        f"can name a member of a coalition of {supported}" if supported else "cannot name even a lone leaker"
    )
    typer.echo(
        f"{len(rows):,} twins for {told['accounts']:,} accounts; the median of {sites} sites {support} "
        f"(at 10 % error a site); {out} written; publish the head above",
        err=True,
    )


def _candidate(row: tuple[Any, ...]) -> tuple[str, str, str, str, str]:
    request, account, prompt, zero, one = ("" if value is None else str(value) for value in row)
    return request, account, prompt, zero, one
