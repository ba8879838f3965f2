"""Cases of `kdguard lineage test`, for `kdguard audit sign`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from kdguard.errors import LineageError

if TYPE_CHECKING:
    from kdguard.ledger.derivation import KeyName
    from kdguard.lineage.compared import Against, Found

SCHEME = "lineage"


def write_lineage_case(
    path: Path,
    found: Found,
    compared: Against,
    inputs: Sequence[Path],
    *,
    committed: Path | None,
    epoch: str | None,
    keys: Path | None,
) -> None:
    """Write the numbers that one suspect's verdict rests on: no prompt, no answer.

    Args:
        path: Where.
        found: Verdicts on one suspect.
        compared: What it was compared with.
        inputs: Files that the numbers were read from.
        committed: What 'lineage probes' printed and was committed to; None = nothing was.
        epoch: Of the commitment.
        keys: Key store of the commitment.

    Raises:
        LineageError: There are several suspects, no rank, or the test was another one than was committed to.
    """
    from kdguard.audit.case import Case, run, write_case
    from kdguard.cli.mark_tables import input_digest
    from kdguard.detectors.fingerprint.claims import NAME, VERSION, statistics_of_found

    parameters, names = _committed(committed, epoch, keys)
    case = Case(
        test=NAME,
        version=VERSION,
        keys=names,
        parameters=parameters,
        statistics=statistics_of_found(found, compared),
        inputs=tuple(map(input_digest, inputs)),
    )
    run(case, {})
    write_case(case, path)
    typer.echo(f"case: {path}; sign it with 'kdguard audit sign'", err=True)


def _committed(
    committed: Path | None, epoch: str | None, keys: Path | None
) -> tuple[dict[str, Any], tuple[tuple[KeyName, int], ...]]:
    if committed is None or epoch is None:
        if committed is not None or epoch is not None:
            raise LineageError(
                "a commitment needs both --committed FILE, as it was committed to, and --epoch"
            )
        return {}, ()
    from kdguard.ledger.canonical import parse_any
    from kdguard.ledger.derivation import KeyName
    from kdguard.ledger.keys import open_keys, place_of_keys

    parameters = parse_any(committed.read_bytes())
    if not isinstance(parameters, dict):
        raise LineageError(f"{committed}: must hold one JSON object, as 'kdguard lineage probes' prints it")
    generation = open_keys(place_of_keys(keys)).current.number
    return parameters, ((KeyName(SCHEME, "", epoch), generation),)
