"""What the pages ask of the tables beyond what the interface for programs does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Row, func, or_, select

from kdguard.service.store.listing import LISTED, strata_of
from kdguard.service.store.tables import ACCOUNTS, DISPOSITIONS, REGISTRATIONS, TRAIL, TRAIL_HEADS, VERDICTS
from kdguard.service.store.verdicts import summary_of
from kdguard.verdict import Decision

MOST_COUNTED = 1_000
MOST_LINKED = 50
_AT_ONCE = 500


def count_changed(connection: Connection, tenant: str, kind: str, since_us: int) -> int:
    """How many decisions changed since a moment; counting ends past `MOST_COUNTED`."""
    mine = (VERDICTS.c.tenant == tenant) & (VERDICTS.c.kind == kind)
    some = select(VERDICTS.c.subject).where(mine & (VERDICTS.c.changed_us >= since_us))
    counted = select(func.count()).select_from(some.limit(MOST_COUNTED + 1).subquery())
    return int(connection.execute(counted).scalar_one())


def last_look(connection: Connection, tenant: str, actor: str) -> int | None:
    """When a key's last session was begun, marked as seen or ended."""
    query = (
        select(TRAIL.c.at_us)
        .where((TRAIL.c.tenant == tenant) & (TRAIL.c.actor == actor) & TRAIL.c.action.startswith("session."))
        .order_by(TRAIL.c.sequence.desc())
        .limit(1)
    )
    found = connection.execute(query).scalar()
    return None if found is None else int(found)


def trail_length(connection: Connection, tenant: str) -> int:
    """Entries of the audit trail."""
    query = select(TRAIL_HEADS.c.sequence).where(TRAIL_HEADS.c.tenant == tenant)
    return int(connection.execute(query).scalar() or 0)


def briefly(connection: Connection, tenant: str, accounts: Sequence[str]) -> dict[str, Row[Any]]:
    """The rows of some accounts, by id."""
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(accounts), _AT_ONCE):
        mine = (VERDICTS.c.tenant == tenant) & (VERDICTS.c.kind == "account")
        query = select(*LISTED).where(mine & VERDICTS.c.subject.in_(accounts[start : start + _AT_ONCE]))
        found |= {row.subject: row for row in connection.execute(query)}
    return found


def same_owner(connection: Connection, tenant: str, facts: Mapping[str, Any]) -> list[Row[Any]]:
    """Other accounts of the same organisation or payment instrument, by the accounts table."""
    ties = [
        ACCOUNTS.c[name] == facts[name] for name in ("org_id", "payment_hash") if facts.get(name) is not None
    ]
    if not ties:
        return []
    query = (
        select(ACCOUNTS.c.account_id, ACCOUNTS.c.org_id, ACCOUNTS.c.payment_hash)
        .where((ACCOUNTS.c.tenant == tenant) & (ACCOUNTS.c.account_id != facts["account_id"]) & or_(*ties))
        .order_by(ACCOUNTS.c.account_id)
        .limit(MOST_LINKED)
    )
    return list(connection.execute(query))


def records_of(connection: Connection, tenant: str, accounts: Sequence[str]) -> dict[str, Row[Any]]:
    """Payment and mail domain of some accounts, by id."""
    found: dict[str, Row[Any]] = {}
    for start in range(0, len(accounts), _AT_ONCE):
        some = ACCOUNTS.c.account_id.in_(accounts[start : start + _AT_ONCE])
        query = select(ACCOUNTS).where((ACCOUNTS.c.tenant == tenant) & some)
        found |= {row.account_id: row for row in connection.execute(query)}
    return found


def releases(connection: Connection, tenant: str) -> list[Row[Any]]:
    """Registered releases of models."""
    mine = (REGISTRATIONS.c.tenant == tenant) & (REGISTRATIONS.c.kind == "model_release")
    return list(connection.execute(select(REGISTRATIONS).where(mine).order_by(REGISTRATIONS.c.name)))


def count_ranked(connection: Connection, tenant: str) -> int:
    """How many accounts had a p-value at the latest look; it was counted then."""
    told = summary_of(connection, tenant)
    if told is None or not told["summary"].get("accounts"):
        return 0
    return int(told["summary"]["accounts"]) - int(told["summary"]["decisions"].get(Decision.ABSTAIN, 0))


def counts_at(connection: Connection, tenant: str, levels: Sequence[float]) -> list[int]:
    """How many accounts have a p-value at most each level, ascending: each is counted once, by an index."""
    rank = VERDICTS.c.rank
    steps = [
        select(func.count()).where(*_accounts(tenant), rank > below, rank <= level).scalar_subquery()
        for below, level in pairwise([-1.0, *levels])
    ]
    return np.cumsum(connection.execute(select(*steps)).one()).tolist()


def strata_at(connection: Connection, tenant: str, level: float) -> list[tuple[str, int]]:
    """Of which strata the accounts are that have a p-value at most a level."""
    table, found = VERDICTS.c, []
    for stratum in strata_of(connection, tenant, "account"):
        query = select(func.count()).where(*_accounts(tenant), table.stratum == stratum, table.rank <= level)
        count = int(connection.execute(query).scalar_one())
        found += [(stratum, count)] if count else []
    return found


def disposed(connection: Connection, tenant: str) -> list[tuple[str, float | None]]:
    """What persons last said of each account, with its p-value."""
    said = DISPOSITIONS.c
    somebody = select(said.subject).where((said.tenant == tenant) & (said.kind == "account")).distinct()
    query = select(VERDICTS.c.disposition, VERDICTS.c.p_value).where(
        *_accounts(tenant), VERDICTS.c.subject.in_(somebody), VERDICTS.c.disposition.is_not(None)
    )
    return [(str(row.disposition), row.p_value) for row in connection.execute(query)]


def _accounts(tenant: str) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return VERDICTS.c.tenant == tenant, VERDICTS.c.kind == "account"
