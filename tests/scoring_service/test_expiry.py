"""Signals expire: what is left is what the batch says of what is left of the log."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from kdguard.service.live.scoring import TenantScoring
from tests.scoring_service import logs
from tests.scoring_service.made import SECRETS, journalled, tenant_database
from tests.scoring_service.running import NDJSON, running, scored, until
from tests.scoring_service.test_equality import batch, lines

DAYS = 24


def left(log: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the days that stay when signals expire: eleven twelfths of them, back from the newest."""
    times = [datetime.fromisoformat(row["time"]) for row in log]
    begin = max(times) - timedelta(days=DAYS * 11 / 12)
    return [row for row, time in zip(log, times, strict=True) if time >= begin]


def test_what_is_left_is_what_the_batch_says_of_it(tmp_path: Path) -> None:
    log = logs.rows(11, requests=40, span=timedelta(days=60))
    database = tenant_database(tmp_path)
    journalled(database, tmp_path / "one", log, rows=40)
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
