"""Cases as the commands around marks write them, for `kdguard audit sign`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kdguard.ledger.derivation import KeyName


def write_case_of(
    path: Path,
    test: str,
    keys: Sequence[tuple[KeyName, int]],
    parameters: Mapping[str, Any],
    statistics: Mapping[str, Any],
    files: Iterable[Path],
) -> None:
    """Write the case of one run.

    Args:
        path: Where.
        test: Registered name.
        keys: What each key is for, and the number of its generation.
        parameters: As committed.
        statistics: As the test takes them.
        files: What the numbers were read from; folders are left out.
    """
    from kdguard.audit.case import Case, write_case
    from kdguard.cli.mark_tables import input_digest
    from kdguard.detectors.registered import find

    case = Case(
        test=test,
        version=find(test).version,
        keys=tuple(keys),
        parameters=parameters,
        statistics=statistics,
        inputs=tuple(input_digest(file) for file in files if file.is_file()),
    )
    write_case(case, path)
