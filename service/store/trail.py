"""The audit trail: who saw and did what, each entry holding the digest of the one before.

Accounts stand in it under salted names, so that it can be kept when an account is deleted. A chain shows that an entry
was changed or taken out of its middle; that its end was cut off shows only against a head that was noted elsewhere, so
`head` is part of every verification and belongs into a place the service cannot write.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import rfc8785
from sqlalchemy import Connection, insert, select, update

from kdguard.service.store.api_keys import now_us
from kdguard.service.store.secrets import salted
from kdguard.service.store.tables import TENANTS, TRAIL, TRAIL_HEADS

_FIRST = bytes(32)
_AT_ONCE = 1_000
FORGET = "account.forget"
"""Action by which an account was deleted."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What a verification found.

    Attributes:
        entries: Entries read.
        broken_at: Sequence number of the first entry that does not fit; None = all do.
        head: Digest of the last entry, hexadecimal.
    """

    entries: int
    broken_at: int | None
    head: str


def record(
    connection: Connection,
    tenant: str,
    *,
    actor: str,
    action: str,
    account: str | None = None,
    subject: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> int:
    """Add an entry, in the transaction of what it tells of.

    Args:
        connection: A transaction that writes.
        tenant: Whose trail.
        actor: Id of the API key, or `system`.
        action: What was done, as `noun.verb`.
        account: Account it was done to; only its salted name is kept.
        subject: Any other subject.
        details: Plain values; never an account id or a text.

    Returns:
        Its sequence number, from 1.
    """
    name = subject if account is None else name_of(connection, tenant, account)
    previous, sequence = _head(connection, tenant)
    entry = {
        "tenant": tenant,
        "sequence": sequence + 1,
        "at_us": now_us(),
        "actor": actor,
        "action": action,
        "subject": name,
        "details": rfc8785.dumps(dict(details or {})).decode(),
    }
    digest = _digest(entry, previous)
    connection.execute(insert(TRAIL), {**entry, "previous": previous, "digest": digest})
    head = {"sequence": sequence + 1, "digest": digest}
    connection.execute(update(TRAIL_HEADS).where(TRAIL_HEADS.c.tenant == tenant).values(**head))
    return sequence + 1


def name_of(connection: Connection, tenant: str, account: str) -> str:
    """The salted name of an account."""
    return salted(salt_of(connection, tenant), account)


def salt_of(connection: Connection, tenant: str) -> bytes:
    """The salt of a tenant's names."""
    return bytes(connection.execute(select(TENANTS.c.salt).where(TENANTS.c.id == tenant)).scalar_one())


def forgotten_since(connection: Connection, tenant: str, at_us: int) -> frozenset[str]:
    """Salted names of the accounts that were deleted since."""
    mine = (TRAIL.c.tenant == tenant) & (TRAIL.c.action == FORGET) & (TRAIL.c.at_us >= at_us)
    return frozenset(str(row.subject) for row in connection.execute(select(TRAIL.c.subject).where(mine)))


def entries(connection: Connection, tenant: str, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """Entries, the newest first, before a sequence number."""
    query = select(TRAIL).where(TRAIL.c.tenant == tenant).order_by(TRAIL.c.sequence.desc()).limit(limit)
    if before is not None:
        query = query.where(TRAIL.c.sequence < before)
    return [
        {
            **row,
            "details": orjson.loads(row["details"]),
            "previous": bytes(row["previous"]).hex(),
            "digest": bytes(row["digest"]).hex(),
        }
        for row in connection.execute(query).mappings()
    ]


def verify(connection: Connection, tenant: str) -> Verified:
    """Read the whole trail and check every link, and that it ends where it should."""
    previous, sequence = _FIRST, 0
    while True:
        some = connection.execute(
            select(TRAIL)
            .where((TRAIL.c.tenant == tenant) & (TRAIL.c.sequence > sequence))
            .order_by(TRAIL.c.sequence)
            .limit(_AT_ONCE)
        ).mappings()
        rows = list(some)
        for row in rows:
            entry = {name: row[name] for name in row if name not in ("previous", "digest")}
            fits = bytes(row["previous"]) == previous and row["sequence"] == sequence + 1
            if not fits or bytes(row["digest"]) != _digest(entry, previous):
                return Verified(sequence, sequence + 1, previous.hex())
            previous, sequence = bytes(row["digest"]), sequence + 1
        if not rows:
            break
    head = connection.execute(select(TRAIL_HEADS).where(TRAIL_HEADS.c.tenant == tenant)).first()
    whole = head is None or (head.sequence == sequence and bytes(head.digest) == previous)
    return Verified(sequence, None if whole else sequence + 1, previous.hex())


def _head(connection: Connection, tenant: str) -> tuple[bytes, int]:
    query = select(TRAIL_HEADS).where(TRAIL_HEADS.c.tenant == tenant).with_for_update()
    row = connection.execute(query).first()
    if row is None:
        # two first entries at once: the second waits for the row of the tenant
        connection.execute(select(TENANTS.c.id).where(TENANTS.c.id == tenant).with_for_update())
        row = connection.execute(query).first()
    if row is None:
        connection.execute(insert(TRAIL_HEADS), {"tenant": tenant, "sequence": 0, "digest": _FIRST})
        return _FIRST, 0
    return bytes(row.digest), row.sequence


def _digest(entry: Mapping[str, Any], previous: bytes) -> bytes:
    told = {name: str(value) if name in ("sequence", "at_us") else value for name, value in entry.items()}
    return hashlib.sha256(previous + rfc8785.dumps(told)).digest()
