"""Cases of the watermark commands: what was scored, as numbers, for `audit sign`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kdguard.errors import WatermarkError

if TYPE_CHECKING:
    from kdguard.cli.watermark.options import Opened


def write_mark_case(
    path: Path, test: str, work: Opened, statistics: Mapping[str, Any], files: Sequence[Path]
) -> None:
    """Write the case of one run.

    Args:
        path: Where.
        test: Registered name.
        work: Mark and keys.
        statistics: As the test takes them.
        files: What the numbers were read from; folders are left out.

    Raises:
        WatermarkError: The key is not of a key store, so that it cannot have been committed.
    """
    from kdguard.cli.cases import write_case_of

    keys = [(asked.name, asked.generation) for asked in work.asked if asked.name and asked.committed]
    if len(keys) < len(work.asked):
        raise WatermarkError("--case needs a key that was committed: give --epoch, and --ledger")
    write_case_of(path, test, keys, work.mark.parameters(), statistics, files)
