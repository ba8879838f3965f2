"""Baselines learnt in the service: those of the command, without whom people confirmed, marked when they must be."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from kdguard.cli import app
from kdguard.service.live import baselines
from kdguard.service.live.baselines import active_digest
from kdguard.service.live.scoring import Folders
from kdguard.service.store import trail
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, Running, running, scored
from tests.scoring_service.test_marks import ended

ACCOUNTS = 240


def log() -> list[dict[str, Any]]:
    """Enough honest owners to calibrate, and some thieves."""
    made = logs.rows(91, accounts=0, thieves=ACCOUNTS + 4, requests=11, span=timedelta(minutes=50))
    for row in made:
        number = int(row["account_id"].split("-")[1])
        row |= {"org_id": f"org-{number}", "client_ip": f"203.0.113.{number}", "logprobs": False}
        if number < ACCOUNTS:
            row |= {"account_id": f"honest-{number}", "prompt": row["prompt"].partition(": ")[2]}
    return made


LOG = log()


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("learning") / "data") as made:
        made.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
        scored(made.client, len(LOG))
        for account in ("thief-240", "thief-241"):
            told = made.client.post(f"/v1/accounts/{account}/dispositions", json={"disposition": "confirmed"})
            assert told.status_code == 201
        yield made


def learnt(service: Running, path: str = "/v1/baselines/learn", **asked: Any) -> dict[str, Any]:
    response = service.client.post(path, **asked)
    assert response.status_code == 202, response.text
    return ended(service, response.json()["job"])


def active(service: Running) -> str:
    with service.app.state.service.database.read() as connection:
        return active_digest(connection, "default")


@pytest.mark.slow
def test_it_is_the_baseline_that_the_command_learns(service: Running, tmp_path: Path) -> None:
    asked = {"exclude": ["thief-242"], "seed": 3}
    told = learnt(service, json=asked)
    result = told["result"]
    assert told["state"] == "done", result
    assert (result["accounts"], result["excluded"]) == (ACCOUNTS + 4, 3)
    assert result["exchanges"] == len(LOG)
    assert result["active"] is False
    (tmp_path / "log.jsonl").write_bytes(logs.ndjson(LOG))
    (tmp_path / "exclude").write_text("thief-240\nthief-241\nthief-242\n")
    words = [
        "baseline",
        str(tmp_path / "log.jsonl"),
        "--format",
        "jsonl",
        "--exclude",
        str(tmp_path / "exclude"),
    ]
    words += ["--seed", "3", "--lateness", "1", "--out", str(tmp_path / "own.kdg")]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert f"sha256:{result['digest']}" in done.stdout


def test_a_log_that_is_sent_along_is_not_scored(service: Running) -> None:
    told = learnt(
        service, "/v1/baselines/learn-from?activate=true&seed=3", content=logs.ndjson(LOG), headers=NDJSON
    )
    result = told["result"]
    assert told["state"] == "done", result
    assert (result["accounts"], result["excluded"], result["marked"]) == (ACCOUNTS + 4, 2, None)
    assert active(service) == result["digest"]
    assert service.client.get("/v1/summary").json()["summary"]["exchanges"] <= len(LOG)
    assert not list((service.app.state.service.folder("default") / "uploads").glob("*"))
    assert service.client.post(f"/v1/baselines/{result['digest']}/activate").json()["active"] is True
    assert service.client.post(f"/v1/baselines/{'0' * 64}/activate").status_code == 404


def test_too_little_says_what_is_needed(service: Running) -> None:
    told = learnt(service, json={"since_us": 2**60})
    assert told["state"] == "failed"
    assert "a baseline needs" in told["result"]["error"]
    few = logs.ndjson(LOG[:5])
    told = learnt(service, "/v1/baselines/learn-from", content=few, headers=NDJSON)
    assert told["state"] == "failed"
    bad = service.client.post("/v1/baselines/learn-from", content=b"{]\n", headers=NDJSON)
    assert bad.status_code == 422
    assert service.as_(service.key("read", "audit")).post("/v1/baselines/learn", json={}).status_code == 403
    stranger = service.as_(service.key(tenant="stranger"))
    assert stranger.post("/v1/baselines/learn", json={}).json()["type"] == "urn:kdguard:problem:journal"


def test_it_is_marked_when_an_account_it_learnt_from_is_deleted(service: Running) -> None:
    before = [one["marked"] for one in service.client.get("/v1/baselines").json()]
    assert before
    assert set(before) == {None}
    job = service.client.delete("/v1/accounts/honest-7").json()["job"]
    ended(service, job)
    marked = {one["marked"] for one in service.client.get("/v1/baselines").json()}
    assert marked == {baselines.DELETED}
    for path in Folders(service.app.state.service.folder("default")).baselines.glob("*.accounts"):
        assert b"honest" not in path.read_bytes()
    with service.app.state.service.database.read() as connection:
        assert len(trail.forgotten_since(connection, "default", 0)) == 1
        assert not trail.forgotten_since(connection, "default", 2**62)
