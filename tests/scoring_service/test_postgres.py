"""PostgreSQL for real: a cluster of Debian's own, started for these tests; what is missing is named."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import combinations_with_replacement, product
from pathlib import Path
from typing import Any

import httpx
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, create_engine, insert, make_url, select, text
from sqlalchemy.exc import OperationalError

from kdguard.errors import ServiceError
from kdguard.service.store.database import Database
from kdguard.service.store.listing import SORTS, Filter, list_verdicts
from kdguard.service.store.tables import DISPOSITIONS, METADATA, TENANTS, VERDICTS
from tests.scoring_service import logs
from tests.scoring_service.postgres import Cluster, missing, started
from tests.scoring_service.running import NDJSON, running, scored, until, verdicts
from tests.scoring_service.test_equality import batch, told_by

LOG = logs.rows(81)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    if why := missing():
        pytest.skip(why)
    with started() as made:
        yield made


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


def differences(connection: Connection) -> list[Any]:
    """What the tables are other than the code says, but for an index that only one of the databases needs."""

    def compared(item: Any, name: str | None, kind: str, reflected: bool, other: Any) -> bool:
        return name != "ix_verdicts_beginning" or connection.dialect.name == "postgresql"

    context = MigrationContext.configure(connection, opts={"include_object": compared})
    found: list[Any] = compare_metadata(context, METADATA)
    return found


def test_an_upgrade_keeps_what_is_there(empty: Database) -> None:
    empty.migrate("0001")
    assert empty.behind() == "the database is at revision 0001, this version needs 0003"
    rows = [*fill(empty, 50)]
    empty.migrate()
    assert empty.behind() is None
    with empty.read() as connection:
        assert differences(connection) == []
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
        assert differences(connection) == []
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
