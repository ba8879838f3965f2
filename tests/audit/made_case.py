"""A committed canary case whose suspect learnt from the account "acme"."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from kdguard.audit.case import Case
from kdguard.detectors.canary.claims import site_row, sites_digest
from kdguard.detectors.canary.scoring import draw
from kdguard.ledger.derivation import KeyName
from kdguard.ledger.entries import commitment
from kdguard.ledger.keys import KeyStore, create_keys, open_keys
from kdguard.ledger.log import Ledger, append

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NAME = KeyName("canary", "acme", "2026-11")


@dataclass(frozen=True)
class Made:
    keys: KeyStore
    ledger: Ledger
    case: Case


def fixed_keys(directory: Path) -> KeyStore:
    """A key store whose keys are the same in every run, so that a test's draws are."""
    create_keys(directory)
    (directory / "0001" / "master.key").write_bytes(bytes(range(32)))
    (directory / "0001" / "signing.key").write_bytes(bytes(range(32, 64)))
    return open_keys(directory)


def make_case(directory: Path, sites: int = 12, test: str = "canary.account", accounts: int = 3) -> Made:
    keys = fixed_keys(directory / "keys")
    rows = [site_row(f"s{number:03d}", "number", [64, 9]) for number in range(sites)]
    parameters = {"accounts": accounts, "sites_digest": sites_digest(rows), "recall": 0.1}
    names = [KeyName("canary", account, NAME.epoch) for account in ("acme", "other", "third")]
    derived = [keys.current.derive(name) for name in names]
    entries = [commitment(key, parameters, NOW) for key in derived]
    ledger = append(directory / "ledger", entries, keys.current, NOW)
    drawn = draw(derived[0].key.reveal(), np.array([64, 9] * sites, np.int64))
    seen = [[choice, int(value), 2] for choice, value in enumerate(drawn) if choice % 3]
    seen += [[choice, 0, 1] for choice in range(0, len(drawn), 3)]
    case = Case(
        test=test,
        version="1",
        keys=((NAME, 1),),
        parameters=parameters,
        statistics={"sites": rows, "seen": seen, "marked": {"acme": sites}},
        inputs=({"name": "answers.parquet", "sha256": "ab" * 32, "bytes": 7},),
    )
    return Made(keys, ledger, case)
