"""Cases of lineage tests for `kdguard audit sign`: numbers, no prompt and no answer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def write(
    test: tuple[str, str],
    parts: tuple[Mapping[str, Any], Mapping[str, Any]],
    inputs: Iterable[Path],
    out: Path,
) -> None:
    """Write a case.

    Args:
        test: Name and version as registered.
        parts: Statistics and parameters.
        inputs: Files that the numbers were read from.
        out: File to write.
    """
    from kdguard.audit.case import Case, write_case
    from kdguard.cli.mark_tables import input_digest

    statistics, parameters = parts
    name, version = test
    digests = tuple(input_digest(path) for path in inputs if path.is_file())
    write_case(
        Case(
            test=name,
            version=version,
            keys=(),
            parameters=parameters,
            statistics=statistics,
            inputs=digests,
        ),
        out,
    )
