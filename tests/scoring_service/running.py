"""A scoring service for a test, in this process behind a real socket, or in a process of its own."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.process
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from kdguard.service.api.app import create_app
from kdguard.service.api.running import serve
from kdguard.service.api.settings import Settings
from kdguard.service.store import api_keys
from kdguard.service.store.api_keys import SCOPES
from tests.service.serving import serving

NDJSON = {"content-type": "application/x-ndjson"}
QUICK = {"seal_s": 0.2, "refresh_s": 0.2, "groups_s": 0.2, "least_free_bytes": 0}


@dataclass
class Running:
    """A service that runs.

    Attributes:
        url: Where.
        app: The app; None in another process.
        client: With a key for everything of the tenant `default`.
        others: Clients with other keys, closed at the end.
    """

    url: str
    app: Any
    client: httpx.Client
    others: list[httpx.Client] = field(default_factory=list)

    def key(self, *scopes: str, tenant: str = "default", **more: Any) -> str:
        """Make a key."""
        service = self.app.state.service
        with service.database.write() as connection:
            return api_keys.make_key(
                connection, service.secrets, tenant=tenant, name="test", scopes=scopes or SCOPES, **more
            )[0]

    def as_(self, key: str) -> httpx.Client:
        """A client with another key."""
        self.others.append(client(self.url, key))
        return self.others[-1]


@contextlib.contextmanager
def running(folder: Path, **settings: Any) -> Iterator[Running]:
    """Run a service in this process."""
    app = create_app(Settings(**{**QUICK, "data": folder, **settings}))
    with serving(app) as url:
        service, place = app.state.service, url.removesuffix("/v1")
        with service.database.write() as connection:
            key, _ = api_keys.make_key(
                connection, service.secrets, tenant="default", name="test", scopes=SCOPES
            )
        made = Running(place, app, client(place, key))
        try:
            yield made
        finally:
            for one in (made.client, *made.others):
                one.close()


@contextlib.contextmanager
def listening(folder: Path, **settings: Any) -> Iterator[tuple[Running, int]]:
    """Run a service in this process by the server that `kdguard serve` runs; and its port."""
    key, server, opened = serve(Settings(**{**QUICK, "data": folder, "port": 0, **settings}))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]}, daemon=True)
    with opened:
        thread.start()
        until(lambda: server.started, wait_s=30)
        port = int(opened.getsockname()[1])
        url = f"http://127.0.0.1:{port}"
        with client(url, key or "") as ours:
            yield Running(url, server.config.app, ours), port
        server.should_exit = True
        thread.join(30)


def client(url: str, key: str) -> httpx.Client:
    """A client with a key."""
    return httpx.Client(base_url=url, headers={"authorization": f"Bearer {key}"}, timeout=120)


def until(told: Callable[[], Any], *, wait_s: float = 300.0) -> Any:
    """What `told` says once it is true."""
    ends = time.monotonic() + wait_s
    while time.monotonic() < ends:
        if said := told():
            return said
        time.sleep(0.05)
    raise AssertionError(f"not within {wait_s} s")


def scored(of: httpx.Client, exchanges: int) -> dict[str, Any]:
    """The summary once so many exchanges count."""

    def told() -> dict[str, Any] | None:
        response = of.get("/v1/summary")
        summary = response.json()["summary"] if response.status_code == 200 else {}
        seen = summary.get("exchanges", 0) + (summary.get("late_exchanges") or 0)
        assert seen <= exchanges, "counted more than came"
        return summary if seen == exchanges else None

    summary: dict[str, Any] = until(told)
    return summary


def verdicts(of: httpx.Client) -> dict[str, dict[str, Any]]:
    """Every verdict, by kind and id."""
    found = {}
    for kinds in ("accounts", "clusters"):
        cursor: str | None = None
        while True:
            page = of.get(f"/v1/{kinds}", params={"limit": 7} | ({"cursor": cursor} if cursor else {})).json()
            for item in page["items"]:
                body = of.get(f"/v1/{kinds}/{item['subject']}").json()["verdict"]
                found[f"{body['subject']['kind']} {item['subject']}"] = body
            cursor = page["next"]
            if cursor is None:
                break
    return found


@dataclass
class Process:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    url: str

    def kill(self) -> None:
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def end(self) -> float:
        """SIGTERM; seconds until it was gone."""
        began = time.monotonic()
        self.process.terminate()
        assert self.process.wait(60) == -signal.SIGTERM
        return time.monotonic() - began


@dataclass
class Forked:
    """A service in a process forked from one that has imported everything: it is there at once."""

    process: multiprocessing.process.BaseProcess
    url: str

    def kill(self) -> None:
        """kill -9."""
        self.process.kill()
        self.process.join()

    def end(self) -> None:
        """SIGTERM."""
        self.process.terminate()
        self.process.join(60)
        assert self.process.exitcode == -signal.SIGTERM


def forked(folder: Path) -> tuple[Forked, str | None]:
    """Start a service; the process, and the first key if it made one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["kdguard.service.api.running", "sklearn", "tests.scoring_service.running"]
    )
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_serve, args=(folder, theirs), daemon=True)
    process.start()
    theirs.close()
    with ours:
        url, key = ours.recv()
    return Forked(process, url), key


def _serve(folder: Path, told: Any) -> None:
    with open(os.devnull, "w") as nowhere:
        sys.stderr = nowhere
        given: dict[str, Any] = {**QUICK, "data": folder, "port": 0}
        key, server, listening = serve(Settings(**given))
        told.send((f"http://127.0.0.1:{listening.getsockname()[1]}", key))
        told.close()
        server.run(sockets=[listening])


def started(
    folder: Path, *arguments: str, environment: Sequence[tuple[str, str]] = ()
) -> tuple[Process, str | None]:
    """Start `kdguard serve`; the process, and the first key if it made one."""
    quick = {f"KDGUARD_SERVICE_{name.upper()}": str(value) for name, value in QUICK.items()}
    process = subprocess.Popen(
        [sys.executable, "-m", "kdguard", "serve", "--data", str(folder), "--port", "0", *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | quick | dict(environment),
    )
    assert process.stderr is not None
    first = process.stderr.readline()
    at = re.search(r"http://\S+", first)
    assert at is not None, first + process.stderr.read()
    key = None
    marker = folder / "keys-made"
    if not marker.exists():
        found = re.search(r"kdg_\w+", process.stderr.readline())
        key = found[0] if found else None
        marker.touch()
    made = Process(process, at[0])
    _drain(process)
    return made, key


def _drain(process: subprocess.Popen[str]) -> None:
    """Read the log on, so that it never blocks the service."""

    def read() -> None:
        assert process.stderr is not None
        with process.stderr as log:
            for _ in log:
                pass

    threading.Thread(target=read, daemon=True).start()
