"""What is registered under a name: releases of models, marks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, delete, select

from kdguard.service.store.api_keys import now_us
from kdguard.service.store.database import upsert
from kdguard.service.store.tables import REGISTRATIONS


def put(connection: Connection, tenant: str, kind: str, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Register something, or replace it; returns it as `listed` does."""
    text = orjson.dumps(body).decode()
    row = {"tenant": tenant, "kind": kind, "name": name, "at_us": now_us(), "body": text}
    upsert(connection, REGISTRATIONS, [row], ["at_us", "body"])
    return {"kind": kind, "name": name, "at_us": row["at_us"], "body": dict(body)}


def listed(connection: Connection, tenant: str, kinds: Sequence[str]) -> list[dict[str, Any]]:
    """What is registered of some kinds, by kind and name."""
    table = REGISTRATIONS.c
    query = select(REGISTRATIONS).where((table.tenant == tenant) & table.kind.in_(kinds))
    return [
        {"kind": row.kind, "name": row.name, "at_us": row.at_us, "body": orjson.loads(row.body)}
        for row in connection.execute(query.order_by(table.kind, table.name))
    ]


def found(connection: Connection, tenant: str, kind: str, name: str) -> dict[str, Any] | None:
    """What is registered under one name."""
    return next((one for one in listed(connection, tenant, [kind]) if one["name"] == name), None)


def drop(connection: Connection, tenant: str, kind: str, name: str) -> bool:
    """Remove a registration; False where there is none."""
    table = REGISTRATIONS.c
    mine = (table.tenant == tenant) & (table.kind == kind) & (table.name == name)
    return connection.execute(delete(REGISTRATIONS).where(mine).returning(table.name)).first() is not None
