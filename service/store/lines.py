"""Verdicts as `kdguard score --json` prints them."""

from __future__ import annotations

from sqlalchemy import Connection, select

from kdguard.service.store.tables import VERDICTS


def first_lines(connection: Connection, tenant: str, kind: str, limit: int) -> list[str]:
    """Lines of a kind of subject, the most suspicious first."""
    mine = (VERDICTS.c.tenant == tenant) & (VERDICTS.c.kind == kind)
    query = select(VERDICTS.c.body).where(mine).order_by(VERDICTS.c.rank, VERDICTS.c.subject).limit(limit)
    return [str(row.body) for row in connection.execute(query)]
