"""`kdguard audit sign`: make a bundle of a case."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from kdguard.cli.audit.options import AsJson, Keys, LedgerDirectory, now


def sign(
    case: Annotated[Path, typer.Argument(help="Case that `verify --case` of a mark wrote.", dir_okay=False)],
    ledger: LedgerDirectory,
    out: Annotated[Path, typer.Option(help="Bundle to write.", dir_okay=False)],
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Run a case's test and sign all that a stranger needs to run it again.

    The keys that the case names are revealed in the bundle, and no other. Commit to a new epoch before marking on.
    Exit status: 0 written, 2 bad usage, a key that was not committed, or an unusable case.
    """
    from kdguard.audit.bundle import sign_case
    from kdguard.audit.case import read_case
    from kdguard.ledger.canonical import sha256
    from kdguard.ledger.keys import open_keys, place_of_keys
    from kdguard.ledger.log import open_ledger

    store = open_keys(place_of_keys(keys))
    bundle = sign_case(read_case(case), store, open_ledger(ledger), now())
    out.write_bytes(bundle)
    told = {
        "bundle": str(out),
        "sha256": sha256(bundle),
        "bytes": len(bundle),
        "signer": store.current.signer_id,
    }
    if as_json:
        typer.echo(orjson.dumps(told).decode())
        return
    typer.echo(f"{out}: {len(bundle):,} bytes, sha256 {told['sha256']}", err=True)
    typer.echo(f"signed by {told['signer']}; it reveals the keys of its accounts for their epoch", err=True)
