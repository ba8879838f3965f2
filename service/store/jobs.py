"""Jobs: leased by one worker at a time, taken up again by another if it dies."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, insert, or_, select, update

from kdguard.service.store.api_keys import now_us
from kdguard.service.store.database import Database
from kdguard.service.store.tables import JOBS

LEASE_US = 600_000_000
MOST_ATTEMPTS = 3
FORGET = "forget"
"""Kind of the job that removes an account from signals and state; who scores does it."""
HELD = "held"
"""Kind of a job whose tables are still being written; nobody takes it."""


@dataclass(frozen=True, slots=True)
class Job:
    """A job under way.

    Attributes:
        id: Its name.
        tenant: Whose.
        kind: What is to be done.
        given: With what.
    """

    id: str
    tenant: str
    kind: str
    given: Mapping[str, Any]


def add(connection: Connection, tenant: str, kind: str, given: Mapping[str, Any]) -> str:
    """Add a job and return its id."""
    job = uuid.uuid4().hex
    row = {"id": job, "tenant": tenant, "kind": kind, "state": "waiting", "progress": 0.0, "attempts": 0}
    connection.execute(insert(JOBS), {**row, "created_us": now_us(), "given": orjson.dumps(given).decode()})
    return job


def lease(database: Database, kind: str) -> Job | None:
    """Take the oldest job of a kind that nobody works at."""
    now = now_us()
    free = (JOBS.c.kind == kind) & or_(
        JOBS.c.state == "waiting",
        (JOBS.c.state == "running") & (JOBS.c.leased_us < now),
        (JOBS.c.state == "running") & (JOBS.c.leased_us > now + LEASE_US),  # the clock went back
    )
    query = select(JOBS).where(free).order_by(JOBS.c.created_us).limit(1)
    with database.read() as connection:
        if connection.execute(query).first() is None:
            return None
    with database.write() as connection:
        row = connection.execute(query.with_for_update(skip_locked=True)).first()
        if row is None:
            return None
        tried = row.attempts >= MOST_ATTEMPTS
        values: dict[str, Any] = {"state": "failed" if tried else "running", "attempts": row.attempts + 1}
        values |= {"leased_us": now + LEASE_US}
        if tried:
            values |= {
                "ended_us": now,
                "result": orjson.dumps({"error": "given up after 3 attempts"}).decode(),
            }
        connection.execute(update(JOBS).where(JOBS.c.id == row.id).values(**values))
    return None if tried else Job(row.id, row.tenant, row.kind, orjson.loads(row.given))


def advance(database: Database, job: Job, progress: float) -> None:
    """Note how far a job is, and keep its lease."""
    with database.write() as connection:
        values = {"progress": progress, "leased_us": now_us() + LEASE_US}
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(**values))


def finish(
    database: Database,
    job: Job,
    result: Mapping[str, Any],
    *,
    failed: bool = False,
    given: Mapping[str, Any] | None = None,
) -> None:
    """End a job; `given` replaces what it was given, where that must not stay."""
    values: dict[str, Any] = {
        "state": "failed" if failed else "done",
        "progress": 1.0,
        "ended_us": now_us(),
        "result": orjson.dumps(result, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
    }
    if given is not None:
        values["given"] = orjson.dumps(given).decode()
    with database.write() as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == job.id).values(**values))


def jobs_of(connection: Connection, tenant: str, limit: int) -> list[dict[str, Any]]:
    """A tenant's jobs, the newest first."""
    query = select(JOBS).where(JOBS.c.tenant == tenant).order_by(JOBS.c.created_us.desc()).limit(limit)
    return [_told(row) for row in connection.execute(query).mappings()]


def job_of(connection: Connection, tenant: str, job: str) -> dict[str, Any] | None:
    """One job."""
    row = (
        connection.execute(select(JOBS).where((JOBS.c.tenant == tenant) & (JOBS.c.id == job)))
        .mappings()
        .first()
    )
    return None if row is None else _told(row)


def given_of(connection: Connection, tenant: str, job: str) -> dict[str, Any] | None:
    """What a job was given, or keeps in its place; None where there is no such job."""
    query = select(JOBS.c.given).where((JOBS.c.tenant == tenant) & (JOBS.c.id == job))
    given = connection.execute(query).scalar()
    return None if given is None else orjson.loads(given)


def created_us(connection: Connection, job: str) -> int:
    """When a job was asked for."""
    return int(connection.execute(select(JOBS.c.created_us).where(JOBS.c.id == job)).scalar_one())


def _told(row: Any) -> dict[str, Any]:
    told = {
        name: row[name] for name in ("id", "kind", "state", "progress", "attempts", "created_us", "ended_us")
    }
    return told | {"result": None if row["result"] is None else orjson.loads(row["result"])}
