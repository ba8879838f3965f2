"""`kdguard audit keys`: make, rotate and revoke keys."""

from __future__ import annotations

from typing import Annotated

import orjson
import typer

from kdguard.cli.audit.options import AsJson, Keys, LedgerDirectory, now

app = typer.Typer(help="Make, rotate and revoke keys.", no_args_is_help=True)


@app.command()
def create(keys: Keys = None, as_json: AsJson = False) -> None:
    """Make a key store: a master key for marks and a signing key, readable by their owner alone. Back it up."""
    from kdguard.ledger.keys import create_keys, place_of_keys

    store = create_keys(place_of_keys(keys))
    _tell({"generation": store.current.number, "signer": store.current.signer_id}, as_json)


@app.command()
def rotate(ledger: LedgerDirectory, keys: Keys = None, as_json: AsJson = False) -> None:
    """Add a generation of keys and announce it in the ledger, signed by the old one."""
    from kdguard.ledger.entries import rotation
    from kdguard.ledger.keys import open_keys, place_of_keys, rotate_keys
    from kdguard.ledger.log import append, open_ledger

    place = place_of_keys(keys)
    old = open_keys(place).current
    open_ledger(ledger)
    new = rotate_keys(place).current
    moment = now()
    append(ledger, [rotation(new.signer_id, new.public, new.number, moment)], old, moment)
    _tell({"generation": new.number, "signer": new.signer_id}, as_json)


@app.command()
def revoke(
    revoked: Annotated[str, typer.Argument(help="Id of a signing key, or key_id of a mark's key.")],
    reason: Annotated[str, typer.Option(help="Why; it is public.")],
    ledger: LedgerDirectory,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Declare in the ledger that a key must not be relied on any more; `verify --ledger` then refuses it."""
    from kdguard.ledger.entries import revocation
    from kdguard.ledger.keys import open_keys, place_of_keys
    from kdguard.ledger.log import append, open_ledger

    moment = now()
    signer = open_keys(place_of_keys(keys)).current
    open_ledger(ledger)
    append(ledger, [revocation(revoked, reason, moment)], signer, moment)
    _tell({"revoked": revoked, "signer": signer.signer_id}, as_json)


def _tell(facts: dict[str, object], as_json: bool) -> None:
    if as_json:
        typer.echo(orjson.dumps(facts).decode())
    else:
        typer.echo("\n".join(f"{name}: {value}" for name, value in facts.items()))
