"""What tests of the service's inside begin with: a tenant, its journal, a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kdguard.evidence import Evidence
from kdguard.service.ingest.journal import Journal
from kdguard.service.ingest.reading import read_ndjson
from kdguard.service.ingest.sealing import seal
from kdguard.service.store.account_keys import AccountKeys
from kdguard.service.store.api_keys import make_tenant
from kdguard.service.store.database import Database
from kdguard.service.store.secrets import Secrets
from kdguard.verdict import Decision, GuaranteeState, Verdict
from tests.scoring_service import logs

SECRETS = Secrets(bytes(32))
NOW_US = 0x7FFF_FFFF_FFFF_FFFF >> 1
"""When exchanges come in; later than any of their own times."""


def tenant_database(folder: Path) -> Database:
    """A database that knows one tenant, `one`."""
    database = Database(f"sqlite:///{folder}/kdguard.db")
    database.migrate()
    with database.write() as connection:
        make_tenant(connection, "one")
    return database


def journalled(database: Database, folder: Path, log: Sequence[dict[str, Any]], rows: int) -> None:
    """Write the tenant's journal, so many rows a segment."""
    keys = AccountKeys(database, SECRETS, "one")
    journal = Journal(folder / "journal", most_backlog_bytes=1 << 30)
    for at in range(0, len(log), rows):
        read = read_ndjson(logs.ndjson(log[at : at + rows]), "jsonl", NOW_US)
        journal.append(seal(read.batches, keys, "one", received_us=0))
        journal.seal()
    journal.close()


def cluster(name: str, members: tuple[str, ...], evidence: tuple[Evidence, ...] = ()) -> Verdict:
    """A cluster under review."""
    return Verdict(
        kind="cluster",
        id=name,
        members=members,
        decision=Decision.REVIEW,
        p_value=0.01,
        p_pooled=0.01,
        p_floor=0.01,
        score=3.0,
        requests=72,
        stratum="groups across owners",
        calibration_size=99,
        guarantee_state=GuaranteeState.UNCALIBRATED,
        evidence=evidence,
    )
