"""Signals expire: what is left is what the batch says of what is left of the log."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kdguard.service.ingest.journal import Journal
from kdguard.service.ingest.reading import read_ndjson
from kdguard.service.ingest.sealing import seal
from kdguard.service.live.scoring import TenantScoring
from kdguard.service.store.account_keys import AccountKeys
from kdguard.service.store.api_keys import make_tenant
from kdguard.service.store.database import Database
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, running, scored, until
from tests.scoring_service.test_equality import SECRETS, batch, lines

DAYS = 24


def left(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the days that stay when signals expire: eleven twelfths of them, back from the newest."""
    times = [datetime.fromisoformat(row["time"]) for row in log]
    begin = max(times) - timedelta(days=DAYS * 11 / 12)
    return [row for row, time in zip(log, times, strict=True) if time >= begin]


def test_what_is_left_is_what_the_batch_says_of_it(tmp_path: Path) -> None:
    log = logs.rows(11, requests=40, span=timedelta(days=60))
    database = Database(f"sqlite:///{tmp_path}/kdguard.db")
    database.migrate()
    with database.write() as connection:
        make_tenant(connection, "one")
    keys = AccountKeys(database, SECRETS, "one")
    journal = Journal(tmp_path / "one" / "journal", most_backlog_bytes=1 << 30)
    for at in range(0, len(log), 40):
        read = read_ndjson(logs.ndjson(log[at : at + 40]), "jsonl", 0x7FFF_FFFF_FFFF_FFFF >> 1)
        journal.append(seal(read.batches, keys, "one", received_us=0))
        journal.seal()
    journal.close()
    scoring = TenantScoring(database, SECRETS, tmp_path / "one", "one")
    while scoring.encode():
        scoring.fold()
    assert lines(scoring.assess().findings) == lines(batch(log, tmp_path))
    scoring.save()
    kept = left(log)
    assert scoring.expire(DAYS) == len(log) - len(kept)
    assert scoring.encode() == 0  # what expired is not encoded again from the journal
    scoring.fold()
    expected = lines(batch(kept, tmp_path))
    assert lines(scoring.assess().findings) == expected
    scoring.close()
    again = TenantScoring(database, SECRETS, tmp_path / "one", "one")
    again.fold()
    assert lines(again.assess().findings) == expected
    assert again.expire(DAYS) == 0
    again.close()
    database.close()


def test_the_service_erases_by_itself(tmp_path: Path) -> None:
    log = logs.rows(12, accounts=4, thieves=1, span=timedelta(days=50))
    log.append(log[0] | {"account_id": "only-long-ago", "request_id": "r-0"})
    with running(tmp_path, signal_days=0) as service:
        service.client.post("/v1/exchanges", content=logs.ndjson(log), headers=NDJSON)
        scored(service.client, len(log))
        assert service.client.get("/v1/accounts/only-long-ago").status_code == 200
    with running(tmp_path, signal_days=DAYS) as service:
        kept = len(left(log))
        until(lambda: service.client.get("/v1/summary").json()["summary"]["exchanges"] == kept)
        assert service.client.get("/v1/accounts/only-long-ago").status_code == 404
    parts = [*(tmp_path / "tenants" / "default" / "signals").rglob("part-*")]
    assert parts
    assert not any(b"only-long-ago" in path.read_bytes() for path in parts)
