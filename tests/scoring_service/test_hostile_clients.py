"""Clients that are slow, endless or broken: they are refused, cost little, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from pathlib import Path

import pytest

from kdguard.service.api import connections
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, listening, started

LOG = logs.rows(71, accounts=2, thieves=0, requests=4)
SECRET = "a prompt that must not be logged"


def talk(port: int, *parts: bytes, pause_s: float = 0.0, wait_s: float = 20.0) -> bytes:
    """Send parts with pauses between them, as long as the other side takes them; all that was answered."""
    with socket.create_connection(("127.0.0.1", port), timeout=wait_s) as connection:
        with contextlib.suppress(ConnectionError):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause_s)
        told = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(1 << 16):
                told += piece
    return told


def test_an_error_of_ours_keeps_the_connection_and_its_text_to_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def fail() -> None:
        raise RuntimeError(SECRET)

    with listening(tmp_path) as (service, port):
        service.app.add_api_route("/fail", fail, methods=["POST"])
        body = b"x" * 500_000
        failing = b"POST /fail HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        last = b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
        told = talk(port, failing, failing, last, pause_s=0.2)
    assert re.findall(rb"HTTP/1.1 (\d+)", told) == [b"500", b"500", b"200"]
    assert b"RuntimeError" in told
    logged = capsys.readouterr().err
    assert '"error":"RuntimeError"' in logged
    assert SECRET not in logged + told.decode()


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        ((), "head too slow"),
        ((b"GET /livez HTTP/1.1\r\nhost: x\r\n", *[b"a: b\r\n"] * 40), "head too slow"),
        ((b"GET /livez HTTP/1.1\r\na: ", *[b"x" * 50_000] * 8), "head too large"),
        (
            (b"POST /v1/decide HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999\r\n\r\n", *[b"x"] * 40),
            "rest of a body too slow",
        ),
    ],
)
def test_slow_and_endless_requests_are_ended(
    parts: tuple[bytes, ...], why: str, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    with listening(tmp_path) as (service, port):
        began = time.monotonic()
        told = talk(port, *parts, pause_s=0.05)
        assert time.monotonic() - began < 5.0
        assert service.client.get("/livez").status_code == 200
    assert b" 200 " not in told
    assert why in capsys.readouterr().err


def test_a_slow_body_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_S", 0.5)
    with listening(tmp_path, body_s=0.5) as (service, port):
        key = service.client.headers["authorization"].encode()
        head = (
            b"POST /v1/exchanges HTTP/1.1\r\nhost: x\r\nauthorization: %b\r\ncontent-length: 100\r\n\r\n"
            % key
        )
        told = talk(port, head, *[b"{"] * 20, pause_s=0.05, wait_s=30)
        assert told.startswith(b"HTTP/1.1 408 ")
        sent = service.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
        assert sent.json()["accepted"] == len(LOG)


@pytest.mark.parametrize("mib", [128, pytest.param(1024, marks=pytest.mark.slow)])
def test_a_huge_body_is_refused_within_bounded_memory(mib: int, tmp_path: Path) -> None:
    """Declared, it is refused unread; in chunks, once it is over the limit."""
    service, key = started(tmp_path / "data")
    port, chunk = int(service.url.rsplit(":", 1)[1]), b"x" * (1 << 20)
    head = f"POST /v1/exchanges HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n".encode()
    try:
        before = peak_mib(service.process.pid)
        declared = talk(port, head + b"content-length: %d\r\n\r\n" % (mib << 20), chunk)
        chunks = (b"100000\r\n%b\r\n" % chunk for _ in range(mib))
        endless = talk(port, head + b"transfer-encoding: chunked\r\n\r\n", *chunks)
        grown = peak_mib(service.process.pid) - before
    finally:
        service.end()
    for told in (declared, endless):
        assert told.startswith(b"HTTP/1.1 413 ")
        assert json.loads(told.split(b"\r\n\r\n")[1])["type"].endswith("too-large")
    assert grown < 200, f"the process grew by {grown:.0f} MiB"


def peak_mib(pid: int) -> float:
    """Largest resident memory that a process ever had."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
