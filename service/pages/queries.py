"""What the pages ask of the tables beyond what the interface for programs does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, case, func, or_, select, tuple_

from kdguard.service.store.tables import ACCOUNTS, DISPOSITIONS, REGISTRATIONS, TRAIL, TRAIL_HEADS, VERDICTS
from kdguard.service.store.verdicts import LAST, SORTS

_LISTED = [column for column in VERDICTS.c if column.name not in ("tenant", "body")]
MOST_COUNTED = 1_000
MOST_LINKED = 50
_AT_ONCE = 500
_FEW = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which subjects a list holds; None = all.

    Attributes:
        kind: "account" or "cluster".
        decision: One decision.
        disposition: What a person said; "none" = nothing yet.
        stratum, prefix: Beginnings of the stratum and of the id.
        least_requests: Fewest requests.
        changed_since_us: Decisions that changed since.
    """

    kind: str
    decision: str | None = None
    disposition: str | None = None
    stratum: str | None = None
    prefix: str | None = None
    least_requests: int | None = None
    changed_since_us: int | None = None


def listed(
    connection: Connection,
    tenant: str,
    wanted: Wanted,
    *,
    sort: str,
    after: Sequence[Any] | None,
    limit: int,
) -> list[Row[Any]]:
    """A page of subjects, from the row after `after`, which is the sort value and subject of the last one seen."""
    name, falling = SORTS[sort]
    place = (VERDICTS.c[name], VERDICTS.c.subject)
    narrow = _narrow(connection, tenant, wanted)
    query = select(*_LISTED).where(*_conditions(tenant, wanted), *narrow).limit(limit)
    if after is not None:
        beyond = tuple_(*place) < tuple_(*after) if falling else tuple_(*place) > tuple_(*after)
        query = query.where(beyond)
    # few rows are found by their own index and sorted then; many are found in order, and most are never looked at
    order = (place[0] + 0, place[1]) if narrow else place
    return list(connection.execute(query.order_by(*(c.desc() if falling else c.asc() for c in order))))


def _narrow(connection: Connection, tenant: str, wanted: Wanted) -> list[ColumnElement[bool]]:
    """Conditions that an index answers and few rows fit; none where there is no such condition."""
    mine, table = (VERDICTS.c.tenant == tenant, VERDICTS.c.kind == wanted.kind), VERDICTS.c
    told: list[ColumnElement[bool]] = []
    if wanted.disposition not in (None, "none"):
        said = DISPOSITIONS.c
        whose = (
            (said.tenant == tenant) & (said.kind == wanted.kind) & (said.disposition == wanted.disposition)
        )
        told.append(table.subject.in_(select(said.subject).where(whose)))
    if wanted.prefix is not None and connection.dialect.name == "sqlite":  # compares texts byte by byte
        told.append(and_(table.subject >= wanted.prefix, table.subject < wanted.prefix + "\U0010ffff"))
    if wanted.least_requests is not None:
        told.append(table.requests >= wanted.least_requests)
    return [one for one in told if _few(connection, select(table.subject).where(*mine, one))]


def _few(connection: Connection, query: Select[Any]) -> bool:
    counted = select(func.count()).select_from(query.limit(_FEW + 1).subquery())
    return int(connection.execute(counted).scalar_one()) <= _FEW


def count_changed(connection: Connection, tenant: str, kind: str, since_us: int) -> int:
    """How many decisions changed since a moment; counting ends past `MOST_COUNTED`."""
    some = select(VERDICTS.c.subject).where(
        *_conditions(tenant, Wanted(kind=kind, changed_since_us=since_us))
    )
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
        query = select(*_LISTED).where(mine & VERDICTS.c.subject.in_(accounts[start : start + _AT_ONCE]))
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
    """How many accounts have a p-value."""
    query = select(func.count()).where(*_accounts(tenant), VERDICTS.c.rank < LAST)
    return int(connection.execute(query).scalar_one())


def counts_at(connection: Connection, tenant: str, levels: Sequence[float]) -> list[int]:
    """How many accounts have a p-value at most each level, ascending; `rank` alone is read, so an index answers."""
    rank = VERDICTS.c.rank
    columns = [func.sum(case((rank <= level, 1), else_=0)) for level in levels]
    row = connection.execute(select(*columns).where(*_accounts(tenant), rank <= levels[-1])).one()
    return [int(number or 0) for number in row]


def strata_at(connection: Connection, tenant: str, level: float) -> list[tuple[str, int]]:
    """Of which strata the accounts are that have a p-value at most a level."""
    query = (
        select(VERDICTS.c.stratum, func.count())
        .where(*_accounts(tenant), VERDICTS.c.rank <= level)
        .group_by(VERDICTS.c.stratum)
        .order_by(VERDICTS.c.stratum)
    )
    return [(str(row[0]), int(row[1])) for row in connection.execute(query)]


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


def _conditions(tenant: str, wanted: Wanted) -> list[ColumnElement[bool]]:
    table = VERDICTS.c
    told: list[ColumnElement[bool]] = [table.tenant == tenant, table.kind == wanted.kind]
    if wanted.decision is not None:
        told.append(table.decision == wanted.decision)
    if wanted.disposition == "none":
        told.append(table.disposition.is_(None))
    elif wanted.disposition is not None:
        told.append(table.disposition == wanted.disposition)
    if wanted.stratum is not None:
        told.append(table.stratum.startswith(wanted.stratum, autoescape=True))
    if wanted.prefix is not None:
        told.append(table.subject.startswith(wanted.prefix, autoescape=True))
    if wanted.least_requests is not None:
        told.append(table.requests + 0 >= wanted.least_requests)  # no index: see _narrow
    if wanted.changed_since_us is not None:
        told.append(table.changed_us >= wanted.changed_since_us)
    return told
