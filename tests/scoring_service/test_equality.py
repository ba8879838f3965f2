"""The heart: whatever comes in, however it is cut and wherever the service stops, the verdicts are the batch's."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import kdguard
from kdguard.readers.log import open_log
from kdguard.service.ingest.journal import Journal
from kdguard.service.ingest.reading import read_ndjson
from kdguard.service.ingest.sealing import seal
from kdguard.service.live.baselines import shipped_baseline
from kdguard.service.live.scoring import TenantScoring
from kdguard.service.store.account_keys import AccountKeys
from kdguard.verdict import Findings
from tests.scoring_service import logs
from tests.scoring_service.made import NOW_US, SECRETS, journalled, tenant_database
from tests.scoring_service.running import NDJSON, running, scored, until, verdicts

HOUR = timedelta(hours=1)


def batch(log: list[dict[str, Any]], folder: Path) -> Findings:
    file = folder / "log.jsonl"
    file.write_bytes(logs.ndjson(log))
    return kdguard.score(
        open_log([str(file)], "jsonl", in_arrival_order=True), shipped_baseline(), lateness=HOUR
    )


def told_by(findings: Findings) -> dict[str, dict[str, Any]]:
    """What `running.verdicts` finds once groups were looked for too, which is less often than accounts."""
    return {f"{v.kind} {v.id}": json.loads(json.dumps(v.to_json())) for v in findings.verdicts}


def lines(findings: Findings) -> list[str]:
    told = [json.dumps(verdict.to_json()) for verdict in findings.verdicts]
    return [*told, json.dumps(dict(findings.summary))]


@pytest.mark.parametrize(
    ("seed", "span"), [(1, timedelta(hours=20)), (2, timedelta(minutes=40)), (3, timedelta(days=80))]
)
def test_verdicts_are_the_bytes_of_the_batch(tmp_path: Path, seed: int, span: timedelta) -> None:
    log = logs.in_arrival_order(logs.rows(seed, requests=60, span=span), seed)
    draw = random.Random(seed)
    database = tenant_database(tmp_path)
    keys = AccountKeys(database, SECRETS, "one")
    folder = tmp_path / "one"
    journal = Journal(folder / "journal", most_backlog_bytes=1 << 30)
    scoring = TenantScoring(database, SECRETS, folder, "one")
    at = 0
    while at < len(log):
        some, at = log[at : at + (size := draw.randint(1, 120))], at + size
        read = read_ndjson(logs.ndjson(some), "jsonl", NOW_US)
        assert read.errors.total == 0
        journal.append(seal(read.batches, keys, "one", received_us=0))
        if draw.random() < 0.4:
            journal.seal()
            scoring.encode(draw.randint(1, 3))
        if draw.random() < 0.3:
            scoring.fold()
        if draw.random() < 0.2:
            scoring.close()
            scoring = TenantScoring(database, SECRETS, folder, "one")
        if draw.random() < 0.1:
            told = scoring.assess()
            scoring.keep(told, 0)
    journal.close()
    while scoring.encode():
        pass
    scoring.tidy(3_600)
    scoring.fold()
    mine = scoring.assess().findings
    theirs = batch(log, tmp_path)
    assert theirs.summary["late_exchanges"] > 0
    assert [v.decision.value for v in theirs.verdicts].count("review") > 0
    assert lines(mine) == lines(theirs)
    scoring.close()
    database.close()


def test_what_http_tells_is_what_the_batch_says(tmp_path: Path) -> None:
    log = logs.in_arrival_order(logs.rows(5), 5)
    with running(tmp_path / "data") as service:
        for at in range(0, len(log), 50):
            response = service.client.post(
                "/v1/exchanges", content=logs.ndjson(log[at : at + 50]), headers=NDJSON
            )
            assert response.json()["accepted"] == len(log[at : at + 50])
        scored(service.client, len(log))
        theirs = batch(log, tmp_path)
        expected = told_by(theirs)
        until(lambda: verdicts(service.client) == expected)
        summary = service.client.get("/v1/summary").json()["summary"]
    assert json.loads(json.dumps(dict(theirs.summary))) == summary


def test_parts_joined_into_larger_ones_change_nothing(tmp_path: Path) -> None:
    log = logs.rows(7)
    database = tenant_database(tmp_path)
    journalled(database, tmp_path / "one", log, rows=6)
    scoring = TenantScoring(database, SECRETS, tmp_path / "one", "one")
    while scoring.encode():
        scoring.fold()
    before = lines(scoring.assess().findings)
    files = len(list((tmp_path / "one" / "signals").rglob("part-*")))
    scoring.tidy(3_600)
    assert len(list((tmp_path / "one" / "signals").rglob("part-*"))) == files - 31
    scoring.close()
    again = TenantScoring(database, SECRETS, tmp_path / "one", "one")
    again.fold()
    assert lines(again.assess().findings) == before == lines(batch(log, tmp_path))
    again.close()
    database.close()
