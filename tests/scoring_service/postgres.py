"""A cluster of Debian's PostgreSQL, started for a test or a measurement."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text


def missing() -> str | None:
    """What is needed and not there; None = nothing."""
    if _programs() is None:
        return "needs PostgreSQL's initdb and pg_ctl: apt-get install postgresql"
    if os.geteuid() == 0:  # PostgreSQL does not run as root
        try:
            pwd.getpwnam("postgres")
        except KeyError:
            return "needs the user postgres, which Debian's package makes, when tests run as root"
    return None


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

    def processes(self) -> list[int]:
        """Its processes, the first one first."""
        (first, *_) = (self.run["cwd"] / "data" / "postmaster.pid").read_text().splitlines()
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [int(pid) for pid in (first, *children)]

    def cpu_s(self) -> float:
        """CPU seconds of its processes that live."""
        fields = [
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.processes()
        ]
        return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")

    def freeze(self, number: signal.Signals) -> None:
        """Stop every process of it in its tracks, or let them go on."""
        for pid in self.processes():
            os.kill(pid, number)


@contextmanager
def started() -> Iterator[Cluster]:
    """Start one in a folder of its own; see `missing`."""
    programs = _programs()
    assert programs is not None
    # pytest's own folder is closed to the user postgres
    folder = Path(tempfile.mkdtemp(prefix="kdguard-pg-"))
    user: dict[str, int] = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam("postgres")
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
