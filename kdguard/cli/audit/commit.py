"""`kdguard audit commit`: write commitments to keys into the ledger before the keys are used."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from kdguard.cli.audit.options import AsJson, Keys, LedgerDirectory, now


def commit(
    scheme: Annotated[str, typer.Option(help="Kind of mark, e.g. canary, twins, watermark.")],
    epoch: Annotated[str, typer.Option(help="Period in which the keys mark, e.g. 2026-11.")],
    ledger: LedgerDirectory,
    keys: Keys = None,
    account: Annotated[
        list[str] | None, typer.Option(help="An account; repeat it. None: one key for all.")
    ] = None,
    accounts: Annotated[
        Path | None, typer.Option(help="Table with `account_id`: a key for each.", dir_okay=False)
    ] = None,
    parameters: Annotated[
        Path | None, typer.Option(help="JSON file with what the marks are made with.", dir_okay=False)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Commit to keys before using them, and print the signed head of the ledger: publish it, so that its date is known.

    'kdguard canary plan' and 'kdguard twins plan' commit by themselves.
    Exit status: 0 committed, 2 bad usage or unusable keys or ledger.
    """
    from kdguard.cli.mark_tables import account_names
    from kdguard.errors import LedgerError
    from kdguard.ledger.canonical import parse_any
    from kdguard.ledger.derivation import KeyName
    from kdguard.ledger.entries import commitment
    from kdguard.ledger.keys import open_keys, place_of_keys
    from kdguard.ledger.log import append

    params = parse_any(parameters.read_bytes()) if parameters else {}
    if not isinstance(params, dict):
        raise LedgerError(f"{parameters}: must hold one JSON object")
    signer = open_keys(place_of_keys(keys)).current
    moment = now()
    derived = [
        signer.derive(KeyName(scheme, name, epoch)) for name in account_names(account, accounts) or [""]
    ]
    written = append(ledger, [commitment(key, params, moment) for key in derived], signer, moment)
    head = written.heads[-1]
    if as_json:
        told = {"key_ids": [key.key_id for key in derived], "size": head.size, "root": head.root.hex()}
        typer.echo(orjson.dumps(told | {"head": head.as_json()}).decode())
        return
    typer.echo(orjson.dumps(head.as_json()).decode())
    typer.echo(f"{len(derived)} keys committed, {head.size} entries; publish the head above", err=True)
