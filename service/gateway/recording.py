"""Decisions to the database, many at once, their digest in the audit trail.

A gateway does not wait for its decision to be on disk: a killed process may lose the records of its last `EVERY_S`
seconds, and says so in the trail by what is missing there. A full queue blocks nobody either; what it drops is counted.
"""

from __future__ import annotations

import hashlib
import logging
import queue
import threading
from typing import Any

import orjson
from sqlalchemy import insert, select
from sqlalchemy.exc import SQLAlchemyError

from kdguard.service.out.metrics import FAILED_OPEN
from kdguard.service.store import trail
from kdguard.service.store.database import Database
from kdguard.service.store.tables import DECISIONS

LOG = logging.getLogger("kdguard.service")
EVERY_S = 0.25
_MOST_WAITING, _AT_ONCE = 100_000, 2_000
_PATIENCE_S = 3.0


class Recorder:
    """Writes decisions in the background.

    Args:
        database: Where to.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._waiting: queue.Queue[dict[str, Any]] = queue.Queue(_MOST_WAITING)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._write_all, name="recorder", daemon=True)
        self._thread.start()

    def put(self, row: dict[str, Any]) -> None:
        """Record a decision soon."""
        try:
            self._waiting.put_nowait(row)
        except queue.Full:
            FAILED_OPEN.labels("not recorded").inc()

    def flush(self) -> None:
        """Record what is waiting now."""
        while rows := self._taken():
            self._write(rows)

    def close(self) -> None:
        """Record what is waiting, and end; a database that does not answer is not waited for for long."""
        self._ending.set()
        self._thread.join(_PATIENCE_S)
        if self._waiting.qsize():
            LOG.error("decisions not recorded", extra={"kd": {"count": self._waiting.qsize()}})

    def _write_all(self) -> None:
        while not self._ending.wait(EVERY_S):
            self._flush_or_log()
        self._flush_or_log()

    def _flush_or_log(self) -> None:
        try:
            self.flush()
        except SQLAlchemyError as error:
            LOG.error("decisions not recorded", extra={"kd": {"error": type(error).__name__}})

    def _taken(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        while len(rows) < _AT_ONCE:
            try:
                rows.append(self._waiting.get_nowait())
            except queue.Empty:
                break
        return rows

    def _write(self, rows: list[dict[str, Any]]) -> None:
        written = [
            {**row, "body": orjson.dumps(row["body"], option=orjson.OPT_SORT_KEYS).decode()} for row in rows
        ]
        try:
            with self._database.write() as connection:
                connection.execute(insert(DECISIONS), written)
                for tenant in sorted({row["tenant"] for row in rows}):
                    mine = [row for row in written if row["tenant"] == tenant]
                    details = {"count": len(mine), "sha256": digest_of(mine), "last": mine[-1]["id"]}
                    trail.record(
                        connection, tenant, actor="system", action="decisions.record", details=details
                    )
        except SQLAlchemyError:
            for row in rows:
                self.put(row)
            raise


def digest_of(rows: list[dict[str, Any]]) -> str:
    """Digest of recorded decisions, as it stands in the trail: over their ids and bodies in order."""
    content = b"".join(f"{row['id']} {row['body']}\n".encode() for row in rows)
    return hashlib.sha256(content).hexdigest()


def decisions_of(
    database: Database,
    tenant: str,
    *,
    subject: str | None = None,
    before: tuple[int, str] | None = None,
    limit: int,
) -> list[dict[str, Any]]:
    """Recorded decisions, the newest first."""
    table = DECISIONS.c
    query = (
        select(DECISIONS)
        .where(table.tenant == tenant)
        .order_by(table.at_us.desc(), table.id.desc())
        .limit(limit)
    )
    if subject is not None:
        query = query.where(table.subject == subject)
    if before is not None:
        at_us, last = before
        query = query.where((table.at_us < at_us) | ((table.at_us == at_us) & (table.id < last)))
    with database.read() as connection:
        rows = connection.execute(query).mappings().all()
    return [_told(row) for row in rows]


def decision_of(database: Database, tenant: str, decision: str) -> dict[str, Any] | None:
    """One recorded decision."""
    mine = (DECISIONS.c.tenant == tenant) & (DECISIONS.c.id == decision)
    with database.read() as connection:
        row = connection.execute(select(DECISIONS).where(mine)).mappings().first()
    return None if row is None else _told(row)


def _told(row: Any) -> dict[str, Any]:
    kept = {name: row[name] for name in ("id", "subject", "at_us", "action", "applied")}
    return kept | orjson.loads(row["body"])
