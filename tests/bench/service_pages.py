"""Pages of a million accounts, each beside `/livez` of the same service in the same run.

`python -m tests.bench service-pages [--accounts 1000000] [--times 20] [--folder DIR | --postgres]`: one JSON line a
page, with wall milliseconds (median, 95th percentile) and CPU milliseconds of this process and of PostgreSQL's, to be
compared on a busy machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import create_engine

from tests.scoring_service.pages.visiting import Browser, signed_in
from tests.scoring_service.postgres import Cluster, started
from tests.scoring_service.running import running

_COLUMNS = (
    "tenant, kind, subject, rank, decision, p_value, score, requests, stratum, changed_us, before, body"
)
_BODY = {"like": "a verdict" * 30}
_FILLED = f"""
INSERT INTO verdicts ({_COLUMNS})
SELECT 'default', 'account', 'acct-' || lpad(at::text, 8, '0'), coalesce(p, 2.0),
    CASE WHEN p IS NULL THEN 'abstain' WHEN p <= 0.01 THEN 'review' ELSE 'clear' END,
    p, score, requests, (%s::text[])[kind], 1700000000000000 + at * 1000, NULL, body
FROM (
    SELECT at, CASE WHEN random() < 0.9 THEN random() END AS p, 2 * random() - 1 AS score,
        floor(10 / (1 - random())) AS requests, 1 + floor(3 * random())::int AS kind
    FROM generate_series(0::bigint, %s - 1) AS at
) AS drawn, (SELECT %s AS body) AS told
"""
_COUNTED = "SELECT decision, count(*) FROM verdicts GROUP BY decision"
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
        decisions = dict(connection.execute(_COUNTED).fetchall())
        connection.execute(
            "INSERT INTO summaries VALUES ('default', 1, ?, 1)", (_summary(accounts, decisions),)
        )
    connection.close()


def fill_postgres(url: str, accounts: int) -> None:
    """The like in a database of PostgreSQL, made there, with statistics, as its autovacuum would make them."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        named = "SELECT indexname, indexdef FROM pg_indexes WHERE indexname LIKE 'ix_verdicts_%'"
        kept = connection.exec_driver_sql(named).fetchall()
        for name, _ in kept:
            connection.exec_driver_sql(f"DROP INDEX {name}")
        connection.exec_driver_sql("SELECT setseed(0.5)")
        connection.exec_driver_sql(_FILLED, (list(_STRATA), accounts, json.dumps(_BODY)))
        for _, sql in kept:
            connection.exec_driver_sql(sql)
        decisions = {name: count for name, count in connection.exec_driver_sql(_COUNTED)}
        put = "INSERT INTO summaries VALUES ('default', 1, %s, 1)"
        connection.exec_driver_sql(put, (_summary(accounts, decisions),))
        connection.exec_driver_sql("VACUUM ANALYZE")
    engine.dispose()


def _summary(accounts: int, decisions: Mapping[str, int]) -> str:
    told = {"accounts": accounts, "decisions": decisions, "guarantee_state": "active"}
    return json.dumps({**told, "alpha": 0.01})


def _rows(accounts: int, seed: int) -> Iterator[tuple[object, ...]]:
    draw, body = random.Random(seed), json.dumps(_BODY)
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
        "back-test at the highest level, 0.5": "/pages/settings?alpha=0.5",
        "bare route": "/livez",
    }


def measure(
    browser: Browser, name: str, path: str, times: int, cpu_s: Callable[[], float]
) -> dict[str, object]:
    """Ask for one page over and over."""
    client: httpx.Client = browser.client
    took, cpu = [], cpu_s()
    for _ in range(times):
        began = time.perf_counter()
        assert client.get(path).status_code == 200, path
        took.append((time.perf_counter() - began) * 1e3)
    cpu_ms = (cpu_s() - cpu) * 1e3 / times
    p50, p95 = np.percentile(took, [50, 95])
    return {"page": name, "p50_ms": round(p50, 1), "p95_ms": round(p95, 1), "cpu_ms": round(cpu_ms, 1)}


def _cpu_s(cluster: Cluster) -> float:
    return time.process_time() + cluster.cpu_s()


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000)
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--postgres", action="store_true", help="start a PostgreSQL instead of SQLite")
    given = parser.parse_args()
    print(json.dumps({"load_average": os.getloadavg()[0]}), flush=True)
    with tempfile.TemporaryDirectory() as temporary, ExitStack() as open_servers:
        folder: Path = given.folder or Path(temporary)
        settings: dict[str, Any] = {}
        cpu_s: Callable[[], float] = time.process_time
        if given.postgres:
            cluster = open_servers.enter_context(started())
            settings["database_url"] = cluster.fresh()
            cpu_s = partial(_cpu_s, cluster)
        with running(folder, scores=False, **settings) as service:
            if given.postgres:
                fill_postgres(settings["database_url"], given.accounts)
            elif not (folder / "filled").exists():
                fill(folder / "kdguard.db", given.accounts)
                (folder / "filled").touch()
            browser = signed_in(service, service.key())
            for name, path in pages(browser).items():
                print(json.dumps(measure(browser, name, path, given.times, cpu_s)), flush=True)
    print(json.dumps({"load_average": os.getloadavg()[0]}))


if __name__ == "__main__":
    main()
