"""Trouble around the service: it says so, recovers, and nothing that was acknowledged is lost or counts twice."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kdguard.service.gateway import recording
from kdguard.service.ingest.journal import Journal
from kdguard.service.live.worker import Worker
from kdguard.service.store import database, jobs
from kdguard.service.store.api_keys import make_tenant
from tests.scoring_service import logs
from tests.scoring_service.postgres import Cluster
from tests.scoring_service.running import NDJSON, client, forked, running, scored, until
from tests.scoring_service.test_postgres import cluster

__all__ = ["cluster"]

AT_ONCE = 5


class Sender(threading.Thread):
    """Sends rows for as long as it may, each body again until it is acknowledged; remembers what it was told.

    Attributes:
        acknowledged: Rows that were.
        told: Every status.
        waits: Every Retry-After of a refusal.

    Args:
        url: Where.
        key: That may ingest.
        name: Of its accounts.
        rows_an_account: Rows before a new account comes, whose key the database has to keep.
    """

    def __init__(self, url: str, key: str, name: str, *, rows_an_account: int = 50) -> None:
        super().__init__(daemon=True)
        self.acknowledged, self.sent = 0, 0
        self.told: list[int] = []
        self.waits: list[str | None] = []
        self._url, self._key, self._account, self._rows_an_account = url, key, name, rows_an_account
        self._ending = threading.Event()

    def run(self) -> None:
        """Send until `end`, or until the service is gone."""
        with client(self._url, self._key) as sending:
            while not self._ending.is_set():
                body = logs.ndjson(self._rows())
                self.sent += AT_ONCE
                if not self._deliver(sending, body):
                    return

    def end(self) -> None:
        """Send no more than what is under way."""
        self._ending.set()
        self.join(60)
        assert not self.is_alive()

    def _deliver(self, sending: httpx.Client, body: bytes) -> bool:
        while True:
            try:
                response = sending.post("/v1/exchanges", content=body, headers=NDJSON)
            except httpx.TransportError:
                return False
            self.told.append(response.status_code)
            if response.status_code == 200:
                self.acknowledged += response.json()["accepted"]
                return True
            self.waits.append(response.headers.get("retry-after"))
            time.sleep(0.1)

    def _rows(self) -> Iterator[dict[str, Any]]:
        for at in range(self.sent, self.sent + AT_ONCE):
            # a new account now and then, so that the database is asked
            account = f"{self._account}-{at // self._rows_an_account}"
            yield {"request_id": f"{account}-{at}", "account_id": account, "prompt": f"please, number {at}"}


def requests_in(of: httpx.Client) -> int:
    items = of.get("/v1/accounts", params={"limit": 500}).json().get("items", [])
    return sum(item["requests"] for item in items)


def test_sigterm_under_load_ends_in_time_and_keeps_what_was_acknowledged(tmp_path: Path) -> None:
    service, key = forked(tmp_path / "data")
    assert key is not None
    senders = [Sender(service.url, key, f"sender-{at}") for at in range(4)]
    for sender in senders:
        sender.start()
    until(lambda: sum(sender.acknowledged for sender in senders) > 200)
    began = time.monotonic()
    service.end()
    assert time.monotonic() - began < 10.0
    for sender in senders:
        sender.join(30)
    again, _ = forked(tmp_path / "data")
    acknowledged, sent = (sum(getattr(one, name) for one in senders) for name in ("acknowledged", "sent"))
    with client(again.url, key) as asking:
        found = until(lambda: (count := requests_in(asking)) >= acknowledged and count)
        time.sleep(1.0)
        assert acknowledged <= requests_in(asking) == found <= sent
    again.end()


@pytest.fixture
def lost_connections() -> Iterator[None]:
    """The driver leaves sockets of connections that broke to the garbage collector, which warns of them."""
    yield
    gc.collect()


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")
@pytest.mark.usefixtures("lost_connections")
@pytest.mark.parametrize("trouble", ["restart", "frozen"])
def test_a_database_that_goes_away_or_hangs(
    cluster: Cluster, trouble: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with a time to come again; decisions go through in time; afterwards everything counts once."""
    monkeypatch.setattr(database, "PATIENCE_S", 1.0)
    with running(tmp_path, database_url=cluster.fresh()) as service:
        sender = Sender(service.url, service.key(), trouble)
        sender.start()
        until(lambda: sender.acknowledged > 100)
        if trouble == "restart":
            cluster.stop()
        else:
            cluster.freeze(signal.SIGSTOP)
        try:
            until(lambda: 503 in sender.told, wait_s=60)
            ready = service.client.get("/readyz")
            began = time.monotonic()
            decided = service.client.post("/v1/decide", json={"account_id": "somebody"})
            took_s = time.monotonic() - began
        finally:
            if trouble == "restart":
                cluster.start()
            else:
                cluster.freeze(signal.SIGCONT)
        acknowledged = sender.acknowledged
        until(lambda: sender.acknowledged > acknowledged + 50)
        sender.end()
        scored(service.client, sender.acknowledged)
        until(lambda: service.client.get("/readyz").status_code == 200)
    assert ready.status_code == 503
    assert "cannot be reached" in ready.json()["checks"]["database"]
    # the key may be asked for too, which is a refusal, and the gateway then goes on as it does without an answer
    assert decided.status_code in (200, 503)
    assert took_s < 8.0
    assert set(sender.told) == {200, 503}
    assert all(wait is not None and int(wait) >= 1 for wait in sender.waits)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_thread_that_an_error_ended_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(tmp_path) as service:
        until(lambda: service.client.get("/readyz").status_code == 200)
        monkeypatch.setattr(Worker, "step", lambda _: 1 / 0)
        until(lambda: service.client.get("/readyz").status_code == 503)
        told = service.client.get("/readyz").json()["checks"]
    assert told["scoring"].endswith("only a restart goes on: score")
    assert {one for name, one in told.items() if name != "scoring"} == {"ok"}


def test_a_writer_that_holds_sqlite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_BUSY_MS", 200)
    with running(tmp_path) as service:
        other = sqlite3.connect(tmp_path / "kdguard.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        row = {"request_id": "r", "account_id": "somebody new", "prompt": "p"}
        refused = service.client.post("/v1/exchanges", content=logs.ndjson([row]), headers=NDJSON)
        asked = service.client.post("/v1/decide", json={"account_id": "somebody new"})
        other.execute("ROLLBACK")
        other.close()
        taken = service.client.post("/v1/exchanges", content=logs.ndjson([row]), headers=NDJSON)
        scored(service.client, 1)
        decision = asked.json()["id"]
        until(lambda: service.client.get(f"/v1/decisions/{decision}").status_code == 200)
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:kdguard:problem:database")
    assert int(refused.headers["retry-after"]) >= 1
    assert (asked.status_code, taken.status_code) == (200, 200)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def fill(ballast: Path) -> None:
    """Take all the room that is left."""

    def write_without_end() -> None:
        while True:
            file.write(bytes(1 << 16))

    with ballast.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        write_without_end()


def test_a_disk_that_is_really_full(small_disk: Path) -> None:
    """One sender asks the database for keys of new accounts, one needs the journal alone: both are refused."""
    with running(small_disk / "data") as service:
        senders = [
            Sender(service.url, service.key(), "new"),
            Sender(service.url, service.key(), "known", rows_an_account=1 << 30),
        ]
        for sender in senders:
            sender.start()
        until(lambda: all(sender.acknowledged > 100 for sender in senders))
        ballast = small_disk / "ballast"
        fill(ballast)
        until(lambda: all(503 in sender.told for sender in senders), wait_s=60)
        until(lambda: "No space" in service.client.get("/readyz").json()["checks"]["disk"], wait_s=60)
        refusals = [len(sender.waits) for sender in senders]
        ballast.unlink()
        acknowledged = [sender.acknowledged for sender in senders]
        until(
            lambda: all(s.acknowledged > before + 50 for s, before in zip(senders, acknowledged, strict=True))
        )
        for sender in senders:
            sender.end()
        scored(service.client, sum(sender.acknowledged for sender in senders))
        until(lambda: service.client.get("/readyz").status_code == 200)
    assert all(refusals)
    for sender in senders:
        assert set(sender.told) == {200, 503}
        assert all(wait is not None and int(wait) >= 1 for wait in sender.waits)


def test_a_segment_that_cannot_be_ended_is_ended_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures, seal = [OSError(5, "Input/output error")] * 3, Journal.seal

    def failing(journal: Journal, older_than_s: float = 0.0) -> None:
        if failures:
            raise failures.pop()
        seal(journal, older_than_s)

    monkeypatch.setattr(Journal, "seal", failing)
    row = {"request_id": "r", "account_id": "somebody", "prompt": "p"}
    with running(tmp_path) as service:
        assert (
            service.client.post("/v1/exchanges", content=logs.ndjson([row]), headers=NDJSON).status_code
            == 200
        )
        scored(service.client, 1)
    assert not failures


def test_a_clock_that_jumps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hours forward and back: what waits, waits by a clock that does not jump, and all that came counts once."""
    offset_s, true_s, true_ns = 0, time.time, time.time_ns
    monkeypatch.setattr(time, "time", lambda: true_s() + offset_s)
    monkeypatch.setattr(time, "time_ns", lambda: true_ns() + offset_s * 1_000_000_000)
    with running(tmp_path) as service:
        sender = Sender(service.url, service.key(), "sender")
        sender.start()
        for jump_s in (0, 5 * 3600, 0, -5 * 3600, 0):
            offset_s = jump_s
            acknowledged = sender.acknowledged
            until(lambda reached=acknowledged + 20: sender.acknowledged >= reached, wait_s=60)  # type: ignore[misc]
            decided = service.client.post("/v1/decide", json={"account_id": "sender-0"}).json()["id"]
            path = f"/v1/decisions/{decided}"
            until(lambda path=path: service.client.get(path).status_code == 200, wait_s=20)  # type: ignore[misc]
        sender.end()
        summary = scored(service.client, sender.acknowledged)
        assert service.client.get("/v1/audit/verify").json()["broken_at"] is None
        assert service.client.get("/readyz").status_code == 200
    assert set(sender.told) == {200}
    # rows that carry no time get that of arrival, so those of an account after a jump back are late by design
    assert summary["exchanges"] + (summary["late_exchanges"] or 0) == sender.acknowledged


def test_a_job_is_taken_up_again_when_the_clock_went_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lease, of a worker that is gone, would otherwise hold for as long as the clock had been ahead."""
    store = database.Database(f"sqlite:///{tmp_path}/kdguard.db")
    store.migrate()
    with store.write() as connection:
        make_tenant(connection, "t")
        jobs.add(connection, "t", "work", {})
    true_ns = time.time_ns
    monkeypatch.setattr(time, "time_ns", lambda: true_ns() + 5 * 3600 * 10**9)
    assert jobs.lease(store, "work") is not None
    assert jobs.lease(store, "work") is None
    monkeypatch.setattr(time, "time_ns", true_ns)
    assert jobs.lease(store, "work") is not None
    assert jobs.lease(store, "work") is None
    store.close()


def test_a_decision_is_on_disk_soon_after_its_answer(tmp_path: Path) -> None:
    """The bound that the operations page states: `EVERY_S` and a commit, for decisions without a pause between."""
    with running(tmp_path) as service:
        ask = {"account_id": "somebody"}
        for _ in range(3):
            for _ in range(20):
                decision = service.client.post("/v1/decide", json=ask).json()["id"]
            began = time.monotonic()
            until(lambda one=decision: service.client.get(f"/v1/decisions/{one}").status_code == 200)  # type: ignore[misc]
            assert time.monotonic() - began < recording.EVERY_S + 1.0
