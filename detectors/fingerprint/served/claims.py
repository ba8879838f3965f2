"""The log link as a case: surpluses of texts and whom each was served to, no text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from kdguard.detectors.fingerprint.served.accounts import Settings, rank_accounts
from kdguard.detectors.fingerprint.served.table import LIKELIHOOD, MEASURES, Served
from kdguard.errors import LineageError
from kdguard.evidence import Abstention, Evidence
from kdguard.ledger.derivation import KeyName

NAME, VERSION = "lineage.served", "1"
_GRID: Final = 1_000_000


def served_accounts(
    statistics: Mapping[str, Any], parameters: Mapping[str, Any], keys: Mapping[KeyName, bytes]
) -> tuple[Evidence | Abstention, ...]:
    """Rank accounts by what a suspect prefers, Holm-adjusted; see `accounts.rank_accounts`.

    Args:
        statistics: As `statistics_of` gives them.
        parameters: `seed`, `deals`, `drawn`, `alpha`.
        keys: None are used.
    """
    table = Served(
        accounts=tuple(map(str, statistics["accounts"])),
        account=np.array(statistics["account"], np.int64),
        stratum=np.array(statistics["stratum"], np.int64),
        surplus=np.array(statistics["surplus"], np.float64) / _GRID,
        clean=int(statistics["clean"]),
        measure=str(statistics.get("measure", LIKELIHOOD)),
    )
    if table.measure not in MEASURES:
        raise LineageError(f"a case of served answers must be measured by {' or '.join(MEASURES)}")
    if not len(table.account) == len(table.stratum) == len(table.surplus):
        raise LineageError("a case of served answers must have an account, a stratum and a surplus a text")
    suspect = str(statistics["suspect"])
    found: list[Evidence | Abstention] = []
    for one in rank_accounts(table, suspect, Settings(**parameters)):
        if one.evidence is None:
            found.append(Abstention(detector=NAME, subject=one.account, reason=one.reason))
        else:
            found.append(replace(one.evidence, subject=one.account, p_value=one.p_adjusted))
    return tuple(found)


def statistics_of(table: Served, suspect: str) -> dict[str, Any]:
    """What `served_accounts` takes; surpluses in millionths."""
    return {
        "suspect": suspect,
        "accounts": list(table.accounts),
        "account": table.account.tolist(),
        "stratum": table.stratum.tolist(),
        "surplus": np.round(table.surplus * _GRID).astype(int).tolist(),
        "clean": table.clean,
        "measure": table.measure,
    }
