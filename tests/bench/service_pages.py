"""Pages of a million accounts, each beside `/livez` of the same service in the same run.

`python -m tests.bench.service_pages [--accounts 1000000] [--times 20] [--folder DIR]`: one JSON line a page, with wall
milliseconds (median, 95th percentile) and CPU milliseconds of the process, which can be compared on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np

from tests.scoring_service.pages.visiting import Browser, signed_in
from tests.scoring_service.running import Running, running

_COLUMNS = (
    "tenant, kind, subject, rank, decision, p_value, score, requests, stratum, changed_us, before, body"
)
_STRATA = ("chat", "batch|agent+batch", "unverified|product")


def fill(database: Path, accounts: int, seed: int = 0) -> None:
    """Put verdicts into a database of SQLite; indexes are made afterwards, which takes a tenth of the time."""
    with sqlite3.connect(database) as connection:
        kept = connection.execute(
            "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND name LIKE 'ix_verdicts_%'"
        ).fetchall()
        for name, _ in kept:
            connection.execute(f"DROP INDEX {name}")
        places = ", ".join("?" * 12)
        connection.executemany(f"INSERT INTO verdicts ({_COLUMNS}) VALUES ({places})", _rows(accounts, seed))
        for _, sql in kept:
            connection.execute(sql)
        decisions = dict(
            connection.execute("SELECT decision, count(*) FROM verdicts GROUP BY decision").fetchall()
        )
        told = {"accounts": accounts, "decisions": decisions, "guarantee_state": "active"}
        connection.execute(
            "INSERT INTO summaries VALUES ('default', 1, ?, 1)", (json.dumps({**told, "alpha": 0.01}),)
        )
    connection.close()


def _rows(accounts: int, seed: int) -> Iterator[tuple[object, ...]]:
    draw, body = random.Random(seed), json.dumps({"like": "a verdict" * 30})
    for at in range(accounts):
        p = draw.random() if draw.random() < 0.9 else None
        decision = "abstain" if p is None else "review" if p <= 0.01 else "clear"
        rank, requests = 2.0 if p is None else p, int(draw.paretovariate(1.0) * 10)
        fixed = ("default", "account", f"acct-{at:08d}", rank, decision, p, draw.gauss(0, 1), requests)
        yield (*fixed, draw.choice(_STRATA), 1_700_000_000_000_000 + at * 1_000, None, body)


def pages(browser: Browser) -> dict[str, str]:
    """What is asked for, by name."""
    second = re.search(r'href="([^"]+)" rel="next"', browser.get("/pages/accounts", sort="requests").text)
    assert second is not None
    return {
        "first page": "/pages/accounts",
        "under review": "/pages/accounts?decision=review",
        "most requests, second page": second[1].replace("&amp;", "&"),
        "latest changes": "/pages/accounts?sort=changed",
        "at least 100 requests": "/pages/accounts?least=100",
        "one stratum": "/pages/accounts?stratum=batch",
        "one stratum, most requests": "/pages/accounts?stratum=batch&sort=requests",
        "one stratum, those who abstain": "/pages/accounts?stratum=batch&decision=abstain",
        "those clear, most requests": "/pages/accounts?decision=clear&sort=requests",
        "id begins with": "/pages/accounts?prefix=acct-0001234",
        "confirmed": "/pages/accounts?disposition=confirmed",
        "at least 100,000 requests": "/pages/accounts?least=100000",
        "id begins with, all do": "/pages/accounts?prefix=acct-",
        "stratum that nobody has": "/pages/accounts?stratum=zzz",
        "nobody fits": "/pages/accounts?prefix=nobody",
        "back-test": "/pages/settings?alpha=0.02",
        "back-test at a level of 0.9": "/pages/settings?alpha=0.9",
        "bare route": "/livez",
    }


def measure(service: Running, browser: Browser, name: str, path: str, times: int) -> dict[str, object]:
    """Ask for one page over and over."""
    client: httpx.Client = browser.client
    took, cpu = [], time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        assert client.get(path).status_code == 200, path
        took.append((time.perf_counter() - began) * 1e3)
    cpu_ms = (time.process_time() - cpu) * 1e3 / times
    p50, p95 = np.percentile(took, [50, 95])
    return {"page": name, "p50_ms": round(p50, 1), "p95_ms": round(p95, 1), "cpu_ms": round(cpu_ms, 1)}


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.folder or Path(temporary)
        with running(folder, scores=False) as service:
            if not (folder / "filled").exists():
                fill(folder / "kdguard.db", given.accounts)
                (folder / "filled").touch()
            browser = signed_in(service, service.key())
            for name, path in pages(browser).items():
                print(json.dumps(measure(service, browser, name, path, given.times)), flush=True)


if __name__ == "__main__":
    main()
