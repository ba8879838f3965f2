"""`kdguard audit verify`: check a bundle, offline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from kdguard.cli.audit.options import AsJson

if TYPE_CHECKING:
    from kdguard.audit.verification import Verified
    from kdguard.ledger.log import Head


def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle to verify.", exists=True, dir_okay=False)],
    trust: Annotated[
        list[str] | None, typer.Option(help="Id of a signing key to be trusted; repeat it.")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="The public ledger, to check heads and revocations.", exists=True)
    ] = None,
    head: Annotated[
        list[Path] | None, typer.Option(help="A head as it was published; repeat it.", exists=True)
    ] = None,
    input_file: Annotated[
        list[Path] | None, typer.Option("--input", help="A file that numbers were read from.", exists=True)
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a bundle without any network: signature, commitments, and the test itself, which is run again here.

    Exit status: 0 verified, 1 refused, 2 bad usage.
    """
    from kdguard.audit.verification import verify_bundle
    from kdguard.errors import RefusedError
    from kdguard.ledger.log import open_ledger

    known = open_ledger(ledger) if ledger else None
    try:
        published = _published(head or ())
        verified = verify_bundle(
            bundle.read_bytes(),
            trust=trust or (),
            ledger=known,
            published=published,
            inputs=input_file or (),
        )
    except RefusedError as error:
        if as_json:
            typer.echo(orjson.dumps({"verified": False, "reason": str(error)}).decode())
        typer.echo(f"REFUSED {bundle}: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        typer.echo(orjson.dumps({"verified": True} | asdict(verified)).decode())
    else:
        _print(bundle, verified)


def _published(paths: Sequence[Path]) -> list[Head]:
    from kdguard.errors import LedgerError
    from kdguard.ledger.log import read_head

    try:
        return [read_head(orjson.loads(path.read_bytes())) for path in paths]
    except orjson.JSONDecodeError as error:
        raise LedgerError(
            f"a published head must be the JSON that 'audit commit' printed: {error}"
        ) from error


def _print(bundle: Path, verified: Verified) -> None:
    trusted = "trusted" if verified.trusted else "not checked against --trust: ask the signer for their id"
    typer.echo(f"verified: {bundle}")
    typer.echo(f"signer: {verified.signer} ({trusted})")
    for account, valid_from, time, root in verified.committed:
        typer.echo(f"committed: {account or 'all accounts'} from {valid_from}, head of {time}, root {root}")
    typer.echo(f"test: {verified.test}, run again here")
    typer.echo(f"null hypothesis: {verified.null_hypothesis}")
    for evidence in verified.result:
        typer.echo(f"{evidence['subject']}: {evidence.get('summary') or evidence.get('reason')}")
