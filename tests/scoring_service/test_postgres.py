"""PostgreSQL for real: a cluster of Debian's own, started for these tests; what is missing is named."""

from __future__ import annotations

import os
import pwd
import random
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, insert, make_url, select, text
from sqlalchemy.exc import OperationalError

from kdguard.errors import ServiceError
from kdguard.service.store.database import Database
from kdguard.service.store.listing import SORTS, Filter, list_verdicts
from kdguard.service.store.tables import DISPOSITIONS, METADATA, TENANTS, VERDICTS
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, running, scored, until, verdicts
from tests.scoring_service.test_equality import batch, told_by

LOG = logs.rows(81)


def _programs() -> Path | None:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return places[-1].parent if places else Path(on_path).resolve().parent if on_path else None


@dataclass(frozen=True)
class Cluster:
    """PostgreSQL that was started for tests.

    Attributes:
        url: SQLAlchemy URL.
        control: `pg_ctl` with its folder.
        run: How its programs are run.
    """

    url: str
    control: Sequence[str | Path]
    run: Mapping[str, Any]

    def fresh(self) -> str:
        """URL of a database of its own."""
        name = f"fresh_{uuid.uuid4().hex}"
        server = create_engine(self.url, isolation_level="AUTOCOMMIT")
        with server.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
        server.dispose()
        return self.url.replace("/postgres?", f"/{name}?")

    def start(self) -> None:
        """Start it."""
        folder = self.run["cwd"]
        options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
        subprocess.run([*self.control, "-o", options, "start"], **self.run)

    def stop(self) -> None:
        """Stop it at once, as a crash would."""
        subprocess.run([*self.control, "-m", "immediate", "stop"], **self.run)

    def freeze(self, number: signal.Signals) -> None:
        """Stop every process of it in its tracks, or let them go on."""
        (first, *_) = (self.run["cwd"] / "data" / "postmaster.pid").read_text().splitlines()
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        for pid in (first, *children):
            os.kill(int(pid), number)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    programs = _programs()
    if programs is None:
        pytest.skip("needs PostgreSQL's initdb and pg_ctl: apt-get install postgresql")
    # pytest's own folder is closed to the user postgres
    folder = Path(tempfile.mkdtemp(prefix="kdguard-pg-"))
    user: dict[str, int] = {}
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        try:
            entry = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("needs the user postgres, which Debian's package makes, when tests run as root")
        user = {"user": entry.pw_uid, "group": entry.pw_gid}
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    data = folder / "data"
    run: dict[str, Any] = {"check": True, "capture_output": True, "cwd": folder, **user}
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "kdguard", "-E", "UTF8"], **run)
    control: list[str | Path] = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    made = Cluster(f"postgresql+pg8000://kdguard@/postgres?unix_sock={folder}/.s.PGSQL.5432", control, run)
    made.start()
    try:
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def postgres(cluster: Cluster) -> str:
    return cluster.url


def tells(of: httpx.Client, expected: Mapping[str, Any]) -> bool:
    return verdicts(of) == expected


def test_the_same_verdicts_on_both(postgres: str, tmp_path: Path) -> None:
    expected = told_by(batch(LOG, tmp_path))
    for name, url in (("lite", None), ("full", postgres)):
        with running(tmp_path / name, **({"database_url": url} if url else {})) as service:
            service.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
            scored(service.client, len(LOG))
            until(partial(tells, service.client, expected))
            account = service.client.get("/v1/accounts").json()["items"][0]["subject"]
            disposed = service.client.post(
                f"/v1/accounts/{account}/dispositions", json={"disposition": "watch"}
            )
            assert disposed.status_code == 201
            assert service.client.post("/v1/decide", json={"account_id": account}).status_code == 200
            assert service.client.get("/v1/audit/verify").json()["broken_at"] is None
            assert service.client.delete(f"/v1/accounts/{account}").status_code == 202


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Database]:
    """A database without tables."""
    lite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/kdguard.db" if lite else request.getfixturevalue("cluster").fresh()
    database = Database(url)
    yield database
    database.close()


def test_an_upgrade_keeps_what_is_there(empty: Database) -> None:
    empty.migrate("0001")
    assert empty.behind() == "the database is at revision 0001, this version needs 0002"
    rows = [*fill(empty, 50)]
    empty.migrate()
    assert empty.behind() is None
    with empty.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
        accounts = select(VERDICTS).where(VERDICTS.c.kind == "account")
        kept = [dict(row) for row in connection.execute(accounts).mappings()]
    assert sorted(kept, key=lambda row: str(row["subject"])) == rows


@pytest.mark.parametrize("few", [0, 20, 10_000])
def test_lists_hold_what_their_filters_say(
    empty: Database, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever index answers: every filter and pair of filters, in every order, a page at a time."""
    monkeypatch.setattr("kdguard.service.store.listing.FEW", few)
    empty.migrate()
    rows = [*fill(empty, 120)]
    given: dict[str, list[Any]] = {
        "decision": ["review", "clear"], "disposition": ["none", "watch"], "stratum": ["a", "b", "zzz"],
        "prefix": ["s-1", "S-1", "s%"], "least_requests": [5], "changed_since_us": [7],
    }  # fmt: skip
    filters: list[dict[str, Any]] = [
        {one: first, other: second}
        for one, other in combinations_with_replacement(given, 2)
        for first, second in product(given[one], given[other])
    ]
    for chosen, (sort, (column, falling)) in product([{}, *filters], SORTS.items()):
        expected = [row for row in rows if fits(row, chosen)]
        found: list[Any] = []
        after = None
        with empty.read() as connection:
            while page := list_verdicts(
                connection, "t", Filter(kind="account", **chosen), sort=sort, after=after, limit=13
            ):
                found += page
                after = (getattr(page[-1], column), page[-1].subject)
        assert sorted(row.subject for row in found) == [row["subject"] for row in expected], chosen
        values = [getattr(row, column) for row in found]
        assert values == sorted(values, reverse=falling), chosen


def fill(database: Database, count: int) -> Iterator[dict[str, Any]]:
    """Verdicts on accounts, one on a cluster beside them; the accounts', by subject."""
    draw = random.Random(3)
    rows = [
        {
            "tenant": "t", "kind": "account", "subject": f"s-{at:03d}", "rank": draw.choice([0.01, 0.5, 2.0]),
            "decision": draw.choice(["review", "clear", "abstain"]), "p_value": 0.5, "score": 1.0,
            "requests": draw.randrange(9), "stratum": draw.choice(["a", "a|b", "b", "c"]),
            "changed_us": draw.randrange(9), "before": None, "body": "{}",
            "disposition": draw.choice([None, "watch"]),
        }
        for at in range(count)
    ]  # fmt: skip
    said = [
        {"tenant": "t", "kind": "account", "subject": row["subject"], "disposition": "watch", "note": "",
         "actor": "key", "at_us": 1}
        for row in rows if row["disposition"]
    ]  # fmt: skip
    with database.write() as connection:
        connection.execute(insert(TENANTS), {"id": "t", "created_us": 1, "salt": b"s"})
        connection.execute(insert(VERDICTS), [*rows, {**rows[0], "kind": "cluster"}])
        connection.execute(insert(DISPOSITIONS), said)
    yield from rows


def fits(row: dict[str, Any], chosen: dict[str, Any]) -> bool:
    """Whether a row is in the list of a filter."""
    holds = {
        "decision": lambda told: row["decision"] == told,
        "disposition": lambda told: (row["disposition"] or "none") == told,
        "stratum": lambda told: row["stratum"].startswith(told),
        "prefix": lambda told: row["subject"].startswith(told),
        "least_requests": lambda told: row["requests"] >= told,
        "changed_since_us": lambda told: row["changed_us"] >= told,
    }
    return all(holds[name](value) for name, value in chosen.items())


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_migrations_make_the_tables_that_the_code_knows(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    url = f"sqlite:///{tmp_path}/kdguard.db" if kind == "sqlite" else request.getfixturevalue("postgres")
    database = Database(url)
    database.migrate()
    database.migrate()
    assert database.behind() is None
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    database.close()


def test_a_server_that_takes_no_connection_is_away_and_no_error_of_ours(cluster: Cluster) -> None:
    """So it answers while it starts and stops, which pg8000 calls an error of the program."""
    url = cluster.fresh()
    name = make_url(url).database
    server = create_engine(cluster.url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false"))
    server.dispose()
    database = Database(url)
    with pytest.raises(OperationalError), database.read():
        pass
    with pytest.raises(ServiceError, match="cannot be reached"):
        database.migrate()
    database.close()


def test_a_statement_that_the_server_ends_took_too_long(cluster: Cluster) -> None:
    database = Database(cluster.fresh())

    def sleep() -> None:
        with database.read() as connection:
            connection.execute(text("SET LOCAL statement_timeout = 50"))
            connection.execute(text("SELECT pg_sleep(20)"))

    with pytest.raises(OperationalError):
        sleep()
    database.close()
