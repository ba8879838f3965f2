"""`kdguard lineage verify`: a bundle's verdict again, from the answers themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from kdguard.cli.audit.options import AsJson
from kdguard.cli.lineage.ask import RESPONSES_FILE

TOLERANCE = 1e-9
"""Relative difference between numbers that are computed on two computers."""


def verify(
    bundle: Annotated[Path, typer.Argument(help="Bundle of a lineage test.", exists=True, dir_okay=False)],
    responses: Annotated[
        list[Path], typer.Option(help="The answers, as 'lineage test' took them; repeatable.", exists=True)
    ],
    families: Annotated[Path, typer.Option(help="The families file.", exists=True)],
    controls: Annotated[Path | None, typer.Option(help="The controls file.", exists=True)] = None,
    trust: Annotated[
        list[str] | None, typer.Option(help="Id of a signing key to be trusted; repeat it.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify a bundle offline, make its numbers again from the answers, and compare them.

    'kdguard audit verify' runs the test again from the numbers in the bundle; this goes back to the answers. The files
    must be those whose digests the bundle has.

    Exit status: 0 verified, 1 refused, 2 bad usage or files that cannot be read.
    """
    from kdguard.audit.verification import case_of, verify_bundle
    from kdguard.errors import RefusedError

    files = [path / RESPONSES_FILE if path.is_dir() else path for path in responses]
    files += [families, *([controls] if controls else [])]
    try:
        verified = verify_bundle(bundle.read_bytes(), trust=trust or (), inputs=files)
        _must_agree(case_of(bundle.read_bytes()).statistics, responses, families, controls)
    except RefusedError as error:
        if as_json:
            typer.echo(orjson.dumps({"verified": False, "reason": str(error)}).decode())
        typer.echo(f"REFUSED {bundle}: {error}", err=True)
        raise typer.Exit(1) from error
    if as_json:
        told = {"verified": True, "signer": verified.signer, "result": list(verified.result)}
        typer.echo(orjson.dumps(told).decode())
        return
    typer.echo(f"verified: {bundle}, signed by {verified.signer}, made again from {len(files)} files")
    for evidence in verified.result:
        typer.echo(f"{evidence['subject']}: {evidence.get('summary') or evidence.get('reason')}")


def _must_agree(
    told: Mapping[str, Any], responses: list[Path], families: Path, controls: Path | None
) -> None:
    """Make the numbers of a case again and compare them."""
    from kdguard.cli.lineage.against import against
    from kdguard.detectors.fingerprint.claims import statistics_of_found
    from kdguard.errors import RefusedError
    from kdguard.lineage import Claim

    claim = Claim(alpha=told["alpha"], named=tuple(told["named"]), adjust=told["corrected"])
    read = against(
        responses, families, controls, told["control_kinds"], claim, seed=told["seed"], budget=None
    )
    compared = replace(read, frame=read.frame[read.frame["prompt_id"].astype(str).isin(told["prompts"])])
    asked = told.get("asked", told["looks"][told["last"]])
    again = statistics_of_found(compared.stored([told["suspect"]], asked=asked), compared)
    if "asked" not in told:  # older bundles went by looks
        del again["asked"]
    again |= {
        "withheld": again["withheld"] or told["withheld"]
    }  # what asking again showed is not in these files
    place = _difference(told, again, "statistics")
    if place is not None:
        raise RefusedError(f"the answers give another number at {place} than the bundle has")


def _difference(told: Any, again: Any, place: str) -> str | None:
    """Where two JSON values differ by more than rounding; None = nowhere."""
    if isinstance(told, Mapping) and isinstance(again, Mapping) and told.keys() == again.keys():
        found = (_difference(told[name], again[name], f"{place}.{name}") for name in told)
        return next((one for one in found if one is not None), None)
    if isinstance(told, list) and isinstance(again, list) and len(told) == len(again):
        found = (
            _difference(left, right, f"{place}[{at}]")
            for at, (left, right) in enumerate(zip(told, again, strict=True))
        )
        return next((one for one in found if one is not None), None)
    if {type(told), type(again)} <= {int, float}:
        return None if math.isclose(told, again, rel_tol=TOLERANCE, abs_tol=TOLERANCE) else place
    return None if told == again else place
