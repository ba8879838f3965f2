"""`kdguard canary plan`: draw and commit an epoch of canaries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from kdguard.cli.audit.options import AsJson, Keys, LedgerDirectory, now


def plan(
    accounts: Annotated[
        Path, typer.Option(help="Table of account_id and the requests expected in the epoch.", exists=True)
    ],
    epoch: Annotated[str, typer.Option(help="Name of the period, never used before, e.g. 2026-12.")],
    ledger: LedgerDirectory,
    out: Annotated[Path, typer.Option(help="canaries.parquet to write; it tells the cues.", dir_okay=False)],
    keys: Keys = None,
    share: Annotated[float, typer.Option(help="Largest share of an account's responses to mark.")] = 0.003,
    most: Annotated[int, typer.Option(help="Largest number of marked responses of an account.")] = 250,
    repetitions: Annotated[int, typer.Option(help="Times that one canary is written.")] = 5,
    rewrite_share: Annotated[float, typer.Option(help="Share of responses whose spellings are drawn.")] = 0.0,
    family: Annotated[list[str] | None, typer.Option(help="A form to use; repeat it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Plan an epoch under a budget and commit to every account's key, before anything is marked.

    Exit status: 0 planned, 2 bad usage, or a budget under which no account can be marked.
    """
    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.canary.forms import FAMILIES
    from kdguard.detectors.canary.planning import Budget, commitments, plan_epoch, write_plan
    from kdguard.ledger.keys import open_keys, place_of_keys
    from kdguard.ledger.log import append

    signer = open_keys(place_of_keys(keys)).current
    expected = {str(name): int(count) for name, count in read_rows(accounts, ["account_id", "requests"])}
    budget = Budget(share=share, most=most, repetitions=repetitions, rewrite_share=rewrite_share)
    planned = plan_epoch(signer, epoch, expected, budget, tuple(family or FAMILIES))
    moment = now()
    entries = commitments(planned, signer, moment)
    written = append(ledger, entries, signer, moment)
    rows = write_plan(planned, signer, entries, out)
    told = {
        "epoch": epoch,
        "accounts": len(planned.marked),
        "unmarked": len(expected) - len(planned.marked),
        "sites": len(planned.sites),
        "rows": rows,
        "families": list(planned.families),
        "head": written.heads[-1].as_json(),
    }
    if as_json:
        typer.echo(orjson.dumps(told).decode())
        return
    typer.echo(orjson.dumps(told["head"]).decode())
    typer.echo(
        f"{told['accounts']:,} accounts on {told['sites']} sites ({', '.join(planned.families)}), "
        f"{told['unmarked']:,} too small for the budget; {out} written; publish the head above",
        err=True,
    )
