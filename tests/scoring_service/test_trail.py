"""The audit trail: everything stands in it, nothing in it names an account, and changes show."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import Update, text, update
from sqlalchemy.exc import DBAPIError

from kdguard.service.store import trail
from kdguard.service.store.api_keys import make_tenant
from kdguard.service.store.database import Database
from kdguard.service.store.tables import TRAIL
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, running, scored, until

LOG = logs.rows(51, accounts=3, thieves=1, requests=12)


def test_who_saw_what(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        service.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
        scored(service.client, len(LOG))
        account = service.client.get("/v1/accounts").json()["items"][0]["subject"]
        service.client.get(f"/v1/accounts/{account}")
        service.client.post(f"/v1/accounts/{account}/dispositions", json={"disposition": "benign"})
        entries = service.client.get("/v1/audit").json()["items"]
        told = service.client.get("/v1/audit/verify").json()
    assert [entry["action"] for entry in entries[:3]] == ["account.read", "account.dispose", "account.read"]
    assert len({entry["subject"] for entry in entries[:3]}) == 1
    assert account not in str(entries)
    assert told["broken_at"] is None
    assert told["head"] == entries[0]["digest"]


def test_an_account_is_forgotten(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        service.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
        scored(service.client, len(LOG))
        mine = [row for row in LOG if row["account_id"] == "thief-3"]
        assert service.client.get("/v1/accounts/thief-3").status_code == 200
        job = service.client.delete("/v1/accounts/thief-3").json()["job"]
        assert service.client.get("/v1/accounts/thief-3").status_code == 404
        until(lambda: service.client.get(f"/v1/jobs/{job}").json()["state"] == "done")
        until(
            lambda: service.client.get("/v1/summary").json()["summary"]["exchanges"] == len(LOG) - len(mine)
        )
        assert service.client.get("/v1/accounts/thief-3").status_code == 404
        entry = service.client.get("/v1/audit").json()["items"]
        forget = next(one for one in entry if one["action"] == "account.forget")
        assert forget["details"]["key_destroyed"] is True
        assert len(forget["subject"]) == 32
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.suffix == ".journal" for path in files)
    for path in files:
        assert b"thief-3" not in path.read_bytes(), path
        assert b"Think step by step" not in path.read_bytes(), path


def test_the_trail_cannot_be_changed_and_changes_show(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path}/kdguard.db")
    database.migrate()
    with database.write() as connection:
        make_tenant(connection, "one")
        for at in range(5):
            trail.record(connection, "one", actor="a", action="thing.do", details={"at": at})
    for statement in ("UPDATE audit_trail SET actor = 'b'", "DELETE FROM audit_trail"):
        with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
            connection.execute(text(statement))
    with database.read() as connection:
        assert trail.verify(connection, "one").broken_at is None
    with database.write() as connection:  # somebody with the file in their hands
        connection.execute(text("DROP TRIGGER audit_trail_no_update"))
        connection.execute(_details(9))
    with database.read() as connection:
        told = trail.verify(connection, "one")
    assert (told.entries, told.broken_at) == (2, 3)
    with database.write() as connection:
        connection.execute(text("DROP TRIGGER audit_trail_no_delete"))
        connection.execute(_details(2))
        connection.execute(text("DELETE FROM audit_trail WHERE sequence = 5"))
    with database.read() as connection:
        assert trail.verify(connection, "one").broken_at == 5
    database.close()


def _details(at: int) -> Update:
    return update(TRAIL).where(TRAIL.c.sequence == 3).values(details=f'{{"at":{at}}}')
