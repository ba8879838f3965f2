"""Verdicts as they stand, what changed, and lists of them a page at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from kdguard.service.store.database import upsert
from kdguard.service.store.tables import CHANGES, DISPOSITIONS, SUMMARIES, VERDICTS
from kdguard.verdict import Verdict

LAST = 2.0
"""Rank of subjects without a p-value."""
_UPDATED = ["rank", "decision", "p_value", "score", "requests", "stratum", "changed_us", "before", "body"]


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


def restore_dispositions(connection: Connection, tenant: str, kind: str, subjects: Iterable[str]) -> None:
    """Give subjects whose verdict was away what a person last concluded about them."""
    for subject in subjects:
        said = dispositions_of(connection, tenant, kind, subject)
        if said:
            mine = (VERDICTS.c.tenant == tenant) & (VERDICTS.c.kind == kind) & (VERDICTS.c.subject == subject)
            connection.execute(update(VERDICTS).where(mine).values(disposition=said[0]["disposition"]))


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


def excluded(connection: Connection, tenant: str) -> list[str]:
    """Whom no baseline should learn from: accounts confirmed as thieves, and members of clusters so confirmed."""
    mine = (VERDICTS.c.tenant == tenant) & (VERDICTS.c.disposition == "confirmed")
    clusters = select(VERDICTS.c.body).where(mine & (VERDICTS.c.kind == "cluster"))
    members = {
        str(member)
        for row in connection.execute(clusters)
        for member in orjson.loads(row.body)["subject"]["members"]
    }
    return sorted(members | set(disposed(connection, tenant, "confirmed")))


def forget_subject(connection: Connection, tenant: str, account: str) -> None:
    """Remove what is stored of an account: verdict, changes, dispositions."""
    for table in (VERDICTS, CHANGES, DISPOSITIONS):
        mine = (table.c.tenant == tenant) & (table.c.kind == "account") & (table.c.subject == account)
        connection.execute(delete(table).where(mine))
