"""kill -9 at random moments under load: what was acknowledged is there, once, and the verdicts are the batch's."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

from kdguard.scoring.groups.names import founding_names
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, client, forked, started, until, verdicts
from tests.scoring_service.test_equality import batch, told_by

_SENT_AT_ONCE = 5


def send_all(folder: Path, rounds: int, seed: int) -> None:
    """Send a log while the service is killed so many times; then compare."""
    draw = random.Random(seed)
    log = logs.in_arrival_order(logs.rows(seed, accounts=10, requests=40 + 4 * rounds), seed)
    service, key = forked(folder / "data")
    assert key is not None
    at = 0
    for _ in range(rounds):
        killer = threading.Timer(draw.uniform(0.0, 1.5), service.kill)
        killer.start()
        at = _send(service.url, key, log, at, most=max(_SENT_AT_ONCE, len(log) // (rounds + 1)))
        killer.join()
        service, _ = forked(folder / "data")
    while at < len(log):
        at = _send(service.url, key, log, at, most=len(log))
    theirs = batch(log, folder)
    expected = named_by_members(told_by(theirs))
    assert len(expected) > 10
    with client(service.url, key) as asking:
        requests = sum(v.requests for v in theirs.verdicts if v.kind == "account")
        until(
            lambda: sum(item["requests"] for item in asking.get("/v1/accounts").json()["items"]) == requests
        )
        try:
            until(lambda: named_by_members(verdicts(asking)) == expected)
        except AssertionError:
            assert named_by_members(verdicts(asking)) == expected
    service.end()


def named_by_members(found: Mapping[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Verdicts with clusters named by their members of now, as the batch does; the service keeps a name."""
    clusters = {
        one["subject"]["id"]: one["subject"]["members"] for one in found.values() if one["subject"]["members"]
    }
    names = dict(zip(clusters, founding_names(list(clusters.values())), strict=True))
    told = {}
    for one in found.values():
        subject = one["subject"] | {"id": names.get(one["subject"]["id"], one["subject"]["id"])}
        named = one | {
            "subject": subject,
            "clusters": sorted(names.get(name, name) for name in one["clusters"]),
        }
        told[f"{subject['kind']} {subject['id']}"] = named
    return told


def _send(url: str, key: str, log: list[dict[str, object]], at: int, most: int) -> int:
    """Send on until the service is gone or enough was sent; returns how many rows were acknowledged in all."""
    ends = at + most
    with client(url, key) as sending:
        while at < min(len(log), ends):
            some = log[at : at + _SENT_AT_ONCE]
            try:
                response = sending.post("/v1/exchanges", content=logs.ndjson(some), headers=NDJSON)
            except httpx.TransportError:
                return at
            assert response.status_code == 200
            at += len(some)
            time.sleep(0.005)
    return at


def test_killed_a_few_times(tmp_path: Path) -> None:
    send_all(tmp_path, rounds=2, seed=61)


@pytest.mark.slow
def test_killed_a_hundred_times(tmp_path: Path) -> None:
    send_all(tmp_path, rounds=100, seed=62)


def test_sigterm_ends_within_ten_seconds_and_keeps_everything(tmp_path: Path) -> None:
    log = logs.rows(63, accounts=4, thieves=1, requests=10)
    service, key = started(tmp_path / "data")
    assert key is not None
    assert _send(service.url, key, log, 0, len(log)) == len(log)
    assert service.end() < 10.0
    again, none = started(tmp_path / "data")
    assert none is None
    with client(again.url, key) as asking:
        until(
            lambda: (
                sum(item["requests"] for item in asking.get("/v1/accounts").json().get("items", []))
                == len(log)
            )
        )
    assert again.end() < 10.0
