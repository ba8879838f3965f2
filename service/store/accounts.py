"""The accounts table of a tenant, as the scoring takes it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa
from sqlalchemy import Connection, delete, select

from kdguard.exchanges.schema import ACCOUNTS as ACCOUNT_FIELDS
from kdguard.scoring.facts import accounts_table
from kdguard.service.store.database import upsert
from kdguard.service.store.tables import ACCOUNTS

_NAMES = tuple(ACCOUNT_FIELDS.names)


def put_accounts(connection: Connection, tenant: str, table: pa.Table) -> int:
    """Add accounts, or replace what is known of them; returns how many."""
    rows = [
        {"tenant": tenant, **row, "created_at": row["created_at"] and row["created_at"].isoformat()}
        for row in table.to_pylist()
    ]
    upsert(connection, ACCOUNTS, rows, [name for name in _NAMES if name != "account_id"])
    return len(rows)


def accounts_of(connection: Connection, tenant: str) -> pa.Table | None:
    """The whole table; None where nothing was uploaded."""
    rows = connection.execute(
        select(*(ACCOUNTS.c[name] for name in _NAMES))
        .where(ACCOUNTS.c.tenant == tenant)
        .order_by(ACCOUNTS.c.account_id)
    ).all()
    return accounts_table(pd.DataFrame(rows, columns=list(_NAMES), dtype=object)) if rows else None


def account_facts(connection: Connection, tenant: str, account: str) -> dict[str, Any] | None:
    """What is known of one account; None where nothing was uploaded of it."""
    mine = (ACCOUNTS.c.tenant == tenant) & (ACCOUNTS.c.account_id == account)
    row = connection.execute(select(ACCOUNTS).where(mine)).mappings().first()
    return None if row is None else {name: row[name] for name in _NAMES}


def forget_account(connection: Connection, tenant: str, account: str) -> None:
    """Remove one account from the table."""
    connection.execute(
        delete(ACCOUNTS).where((ACCOUNTS.c.tenant == tenant) & (ACCOUNTS.c.account_id == account))
    )
