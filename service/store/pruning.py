"""What is not kept for ever: answers to idempotency keys, deliveries and jobs that ended."""

from __future__ import annotations

from sqlalchemy import delete

from kdguard.service.store.api_keys import now_us
from kdguard.service.store.database import Database
from kdguard.service.store.tables import DELIVERIES, IDEMPOTENCY, JOBS

_DAY_US = 86_400_000_000
IDEMPOTENT_DAYS = 1
ENDED_DAYS = 90


def prune(database: Database) -> None:
    """Delete what is old enough."""
    now = now_us()
    ended = now - ENDED_DAYS * _DAY_US
    with database.write() as connection:
        connection.execute(delete(IDEMPOTENCY).where(IDEMPOTENCY.c.at_us < now - IDEMPOTENT_DAYS * _DAY_US))
        connection.execute(
            delete(DELIVERIES).where((DELIVERIES.c.state != "waiting") & (DELIVERIES.c.created_us < ended))
        )
        connection.execute(delete(JOBS).where(JOBS.c.ended_us < ended))
