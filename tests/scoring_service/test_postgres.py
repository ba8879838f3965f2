"""PostgreSQL for real: a cluster of Debian's own, started for these tests; what is missing is named."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from kdguard.service.store.database import Database
from kdguard.service.store.tables import METADATA
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, running, scored, verdicts

LOG = logs.rows(81)


def _programs() -> Path | None:
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    on_path = shutil.which("initdb")
    return places[-1].parent if places else Path(on_path).resolve().parent if on_path else None


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    programs = _programs()
    if programs is None:
        pytest.skip("needs PostgreSQL's initdb and pg_ctl: apt-get install postgresql")
    folder = Path(
        tempfile.mkdtemp(prefix="kdguard-pg-")
    )  # pytest's own folder is closed to the user postgres
    as_root = os.geteuid() == 0
    user: dict[str, int] = {}
    if as_root:  # PostgreSQL does not run as root
        try:
            entry = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("needs the user postgres, which Debian's package makes, when tests run as root")
        user = {"user": entry.pw_uid, "group": entry.pw_gid}
        os.chown(folder, entry.pw_uid, entry.pw_gid)
    data, run = folder / "data", {"check": True, "capture_output": True, "cwd": folder, **user}
    subprocess.run([programs / "initdb", "-D", data, "-A", "trust", "-U", "kdguard", "-E", "UTF8"], **run)  # type: ignore[call-overload]
    options = f"-c listen_addresses= -c unix_socket_directories={folder} -c fsync=off"
    control = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    subprocess.run([*control, "-o", options, "start"], **run)  # type: ignore[call-overload]
    try:
        yield f"postgresql+pg8000://kdguard@/postgres?unix_sock={folder}/.s.PGSQL.5432"
    finally:
        subprocess.run([*control, "-m", "immediate", "stop"], **run)  # type: ignore[call-overload]
        shutil.rmtree(folder)


def test_the_same_verdicts_on_both(postgres: str, tmp_path: Path) -> None:
    found = []
    for name, url in (("lite", None), ("full", postgres)):
        with running(tmp_path / name, **({"database_url": url} if url else {})) as service:
            service.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
            scored(service.client, len(LOG))
            found.append(verdicts(service.client))
            account = service.client.get("/v1/accounts").json()["items"][0]["subject"]
            disposed = service.client.post(
                f"/v1/accounts/{account}/dispositions", json={"disposition": "watch"}
            )
            assert disposed.status_code == 201
            assert service.client.post("/v1/decide", json={"account_id": account}).status_code == 200
            assert service.client.get("/v1/audit/verify").json()["broken_at"] is None
            assert service.client.delete(f"/v1/accounts/{account}").status_code == 202
    assert found[0] == found[1]


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
