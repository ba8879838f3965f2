"""What marks hold of an account that is deleted: watermarks of its own, and results of checks and log links.

Plans of canaries and twins stay: they are encrypted, and what was committed to cannot be taken back. `DELETE /v1/marks`
removes them.
"""

from __future__ import annotations

import re

import orjson
from sqlalchemy import Connection, select, update

from kdguard.service.live.served_jobs import KIND as SERVED
from kdguard.service.marks.jobs import KIND
from kdguard.service.store import registrations
from kdguard.service.store.tables import JOBS


def forget_in_marks(connection: Connection, tenant: str, account: str) -> int:
    """Remove an account from marks; returns how many results and registrations went."""
    gone = 0
    for mark in registrations.listed(connection, tenant, ["watermark"]):
        if mark["body"].get("account") == account:
            gone += registrations.drop(connection, tenant, "watermark", mark["name"])
    told = orjson.dumps(account).decode()[1:-1]
    whole = re.compile(rf"(?<![\w.-]){re.escape(told)}(?![\w.-])")
    mine = (JOBS.c.tenant == tenant) & JOBS.c.kind.in_([KIND, SERVED])
    named = mine & JOBS.c.result.contains(told, autoescape=True)
    for row in connection.execute(select(JOBS.c.id, JOBS.c.result).where(named)).all():
        if whole.search(row.result):
            blank = {"given": "{}", "result": orjson.dumps({"forgotten": True}).decode()}
            connection.execute(update(JOBS).where(JOBS.c.id == row.id).values(**blank))
            gone += 1
    return gone
