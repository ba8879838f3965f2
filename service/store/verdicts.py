"""Verdicts as they stand, what changed, and lists of them a page at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import ColumnElement, Connection, Row, Select, and_, delete, func, insert, or_, select, update

from kdguard.service.store.database import upsert
from kdguard.service.store.tables import CHANGES, DISPOSITIONS, SUMMARIES, VERDICTS
from kdguard.verdict import Verdict

LAST = 2.0
"""Rank of subjects without a p-value."""
SORTS: Mapping[str, tuple[str, bool]] = {
    "rank": ("rank", False),
    "requests": ("requests", True),
    "changed": ("changed_us", True),
}
"""Columns a list can be sorted by, and whether the largest comes first."""
_UPDATED = ["rank", "decision", "p_value", "score", "requests", "stratum", "changed_us", "before", "body"]
_LISTED = [column for column in VERDICTS.c if column.name not in ("tenant", "body")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which verdicts a list holds; None = all.

    Attributes:
        kind: "account" or "cluster".
        decision: One decision.
        disposition: What a person said; "none" = nothing yet.
        stratum: Beginning of the stratum.
        prefix: Beginning of the subject's id.
        changed_since_us: Decisions that changed since.
    """

    kind: str
    decision: str | None = None
    disposition: str | None = None
    stratum: str | None = None
    prefix: str | None = None
    changed_since_us: int | None = None


@dataclass(frozen=True, slots=True)
class Known:
    """What a verdict was when it was last stored."""

    decision: str
    changed_us: int
    before: str | None
    body_hash: int


def known_verdicts(connection: Connection, tenant: str) -> dict[tuple[str, str], Known]:
    """Every stored verdict, in short, to tell which ones change."""
    rows = connection.execution_options(yield_per=10_000).execute(
        select(
            VERDICTS.c.kind,
            VERDICTS.c.subject,
            VERDICTS.c.decision,
            VERDICTS.c.changed_us,
            VERDICTS.c.before,
            VERDICTS.c.body,
        ).where(VERDICTS.c.tenant == tenant)
    )
    return {
        (row.kind, row.subject): Known(row.decision, row.changed_us, row.before, hash(row.body))
        for row in rows
    }


def verdict_row(tenant: str, verdict: Verdict, known: Known | None, at_us: int) -> dict[str, Any] | None:
    """The row of a verdict; None where nothing of it changed."""
    body = orjson.dumps(verdict.to_json()).decode()
    if known is not None and known.body_hash == hash(body):
        return None
    changed = known is None or known.decision != verdict.decision.value
    return {
        "tenant": tenant,
        "kind": verdict.kind,
        "subject": verdict.id,
        "rank": LAST if verdict.p_value is None else verdict.p_value,
        "decision": verdict.decision.value,
        "p_value": verdict.p_value,
        "score": verdict.score,
        "requests": verdict.requests,
        "stratum": verdict.stratum,
        "changed_us": at_us if changed or known is None else known.changed_us,
        "before": (known.decision if known else None) if changed or known is None else known.before,
        "body": body,
    }


def put_verdicts(connection: Connection, rows: list[dict[str, Any]], at_us: int) -> None:
    """Store rows of `verdict_row`, and note those whose decision changed."""
    upsert(connection, VERDICTS, rows, _UPDATED)
    changes = [
        {
            **{name: row[name] for name in ("tenant", "kind", "subject", "before", "p_value")},
            "at_us": at_us,
            "after": row["decision"],
        }
        for row in rows
        if row["changed_us"] == at_us and (row["before"] is not None or row["decision"] in ("flag", "review"))
    ]
    if changes:
        connection.execute(insert(CHANGES), changes)


def drop_verdicts(connection: Connection, tenant: str, subjects: Iterable[tuple[str, str]]) -> None:
    """Remove verdicts of subjects that are no more, such as clusters that dissolved."""
    for kind, subject in subjects:
        mine = (VERDICTS.c.tenant == tenant) & (VERDICTS.c.kind == kind) & (VERDICTS.c.subject == subject)
        connection.execute(delete(VERDICTS).where(mine))


def put_summary(
    connection: Connection, tenant: str, summary: Mapping[str, Any], segment: int, at_us: int
) -> None:
    """Store the closing line of a look."""
    row = {
        "tenant": tenant,
        "at_us": at_us,
        "segment": segment,
        "body": orjson.dumps(summary, option=orjson.OPT_SERIALIZE_NUMPY).decode(),
    }
    upsert(connection, SUMMARIES, [row], ["at_us", "segment", "body"])


def summary_of(connection: Connection, tenant: str) -> dict[str, Any] | None:
    """The latest closing line, with when it was written and the last journal segment that counted."""
    row = connection.execute(select(SUMMARIES).where(SUMMARIES.c.tenant == tenant)).first()
    if row is None:
        return None
    return {"at_us": row.at_us, "segment": row.segment, "summary": orjson.loads(row.body)}


def list_verdicts(
    connection: Connection,
    tenant: str,
    wanted: Filter,
    *,
    sort: str = "rank",
    after: tuple[Any, str] | None = None,
    limit: int = 50,
) -> list[Row[Any]]:
    """A page of verdicts without their bodies.

    Args:
        connection: Where to ask.
        tenant: Whose.
        wanted: Which.
        sort: A key of `SORTS`.
        after: Sort value and subject of the last row of the page before.
        limit: Most rows.
    """
    name, falling = SORTS[sort]
    column = VERDICTS.c[name]
    query = select(*_LISTED).where(*_conditions(tenant, wanted)).limit(limit)
    query = _sorted(query, column, falling)
    if after is not None:
        value, subject = after
        beyond = column < value if falling else column > value
        tied = and_(
            column == value, VERDICTS.c.subject < subject if falling else VERDICTS.c.subject > subject
        )
        query = query.where(or_(beyond, tied), column <= value if falling else column >= value)
    return list(connection.execute(query))


def count_decisions(connection: Connection, tenant: str, kind: str) -> dict[str, int]:
    """How many subjects have each decision."""
    query = (
        select(VERDICTS.c.decision, func.count())
        .where((VERDICTS.c.tenant == tenant) & (VERDICTS.c.kind == kind))
        .group_by(VERDICTS.c.decision)
    )
    return {row[0]: row[1] for row in connection.execute(query)}


def verdict_of(connection: Connection, tenant: str, kind: str, subject: str) -> Row[Any] | None:
    """One verdict with its body."""
    mine = (VERDICTS.c.tenant == tenant) & (VERDICTS.c.kind == kind) & (VERDICTS.c.subject == subject)
    return connection.execute(select(VERDICTS).where(mine)).first()


def changes_of(
    connection: Connection, tenant: str, kind: str, subject: str, limit: int = 100
) -> list[dict[str, Any]]:
    """How a subject's decision went, the newest first."""
    query = (
        select(CHANGES.c.at_us, CHANGES.c.before, CHANGES.c.after, CHANGES.c.p_value)
        .where((CHANGES.c.tenant == tenant) & (CHANGES.c.kind == kind) & (CHANGES.c.subject == subject))
        .order_by(CHANGES.c.at_us.desc(), CHANGES.c.id.desc())
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def dispose(
    connection: Connection,
    tenant: str,
    kind: str,
    subject: str,
    *,
    disposition: str,
    note: str,
    actor: str,
    at_us: int,
) -> None:
    """Note what a person concluded about a subject."""
    row = {"tenant": tenant, "kind": kind, "subject": subject, "disposition": disposition, "note": note}
    connection.execute(insert(DISPOSITIONS), {**row, "actor": actor, "at_us": at_us})
    mine = (VERDICTS.c.tenant == tenant) & (VERDICTS.c.kind == kind) & (VERDICTS.c.subject == subject)
    connection.execute(update(VERDICTS).where(mine).values(disposition=disposition))


def dispositions_of(connection: Connection, tenant: str, kind: str, subject: str) -> list[dict[str, Any]]:
    """What persons concluded about a subject, the newest first."""
    table = DISPOSITIONS.c
    query = (
        select(table.at_us, table.disposition, table.note, table.actor)
        .where((table.tenant == tenant) & (table.kind == kind) & (table.subject == subject))
        .order_by(table.at_us.desc(), table.id.desc())
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def disposed(connection: Connection, tenant: str, disposition: str) -> list[str]:
    """Accounts with a disposition: those confirmed are left out of the next baseline."""
    table = VERDICTS.c
    query = select(table.subject).where(
        (table.tenant == tenant) & (table.kind == "account") & (table.disposition == disposition)
    )
    return [str(row.subject) for row in connection.execute(query)]


def forget_subject(connection: Connection, tenant: str, account: str) -> None:
    """Remove what is stored of an account: verdict, changes, dispositions."""
    for table in (VERDICTS, CHANGES, DISPOSITIONS):
        mine = (table.c.tenant == tenant) & (table.c.kind == "account") & (table.c.subject == account)
        connection.execute(delete(table).where(mine))


def _conditions(tenant: str, wanted: Filter) -> list[ColumnElement[bool]]:
    table = VERDICTS.c
    told = [table.tenant == tenant, table.kind == wanted.kind]
    if wanted.decision is not None:
        told.append(table.decision == wanted.decision)
    if wanted.disposition is not None:
        told.append(
            table.disposition.is_(None)
            if wanted.disposition == "none"
            else table.disposition == wanted.disposition
        )
    if wanted.stratum is not None:
        told.append(table.stratum.startswith(wanted.stratum, autoescape=True))
    if wanted.prefix is not None:
        told.append(table.subject.startswith(wanted.prefix, autoescape=True))
    if wanted.changed_since_us is not None:
        told.append(table.changed_us >= wanted.changed_since_us)
    return told


def _sorted(query: Select[Any], column: ColumnElement[Any], falling: bool) -> Select[Any]:
    if falling:
        return query.order_by(column.desc(), VERDICTS.c.subject.desc())
    return query.order_by(column, VERDICTS.c.subject)
