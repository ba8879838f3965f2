"""Cases of lineage tests for `kdguard audit sign`: numbers, no prompt and no answer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kdguard.audit.case import Case
    from kdguard.detectors.fingerprint.served import Served, Settings


def served_case(table: Served, suspect: str, settings: Settings, inputs: Sequence[Path]) -> Case:
    """The case of `lineage.served`."""
    from dataclasses import asdict

    from kdguard.audit.case import Case
    from kdguard.cli.mark_tables import input_digest

    statistics = {
        "suspect": suspect,
        "accounts": list(table.accounts),
        "account": table.account.tolist(),
        "stratum": table.stratum.tolist(),
        "surplus": table.surplus.tolist(),
        "clean": table.clean,
    }
    return Case(
        test="lineage.served",
        version="1",
        keys=(),
        parameters=asdict(settings),
        statistics=statistics,
        inputs=tuple(map(input_digest, inputs)),
    )
