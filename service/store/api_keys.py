"""API keys `kdg_<id>_<secret>`: shown once, kept as keyed digests.

A secret has 256 random bits, so one keyed hash is enough: nobody can try them out, and its key is not in the database.
"""

from __future__ import annotations

import hmac
import re
import secrets as random
import time
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select, update

from kdguard.errors import ServiceError
from kdguard.service.store.secrets import Secrets
from kdguard.service.store.tables import API_KEYS, TENANTS

SCOPES = ("ingest", "read", "decide", "audit", "admin")
TENANT = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_KEY = re.compile(r"kdg_([0-9a-f]{16})_[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key; never the key.

    Attributes:
        id: Its public part.
        tenant: Whose data it opens.
        name: For people.
        scopes: What it may do.
        created_us, expires_us, revoked_us: Microseconds since 1970.
        requests_per_minute: Its own limit; None = the service's.
    """

    id: str
    tenant: str
    name: str
    scopes: frozenset[str]
    created_us: int
    expires_us: int | None = None
    revoked_us: int | None = None
    requests_per_minute: int | None = None

    def usable(self, now_us: int) -> bool:
        """Whether it opens anything now."""
        return (self.expires_us is None or now_us < self.expires_us) and (
            self.revoked_us is None or now_us < self.revoked_us
        )


def make_tenant(connection: Connection, tenant: str) -> None:
    """Make a tenant, where there is none of the name.

    Raises:
        ServiceError: The name would not do as the name of a folder.
    """
    if not TENANT.fullmatch(tenant):
        raise ServiceError(
            f"a tenant must be named by a-z, 0-9 and -, at most 63 of them; got {tenant!r:.80}"
        )
    if connection.execute(select(TENANTS.c.id).where(TENANTS.c.id == tenant)).first() is None:
        connection.execute(
            insert(TENANTS), {"id": tenant, "created_us": now_us(), "salt": random.token_bytes(32)}
        )


def make_key(
    connection: Connection,
    secrets: Secrets,
    *,
    tenant: str,
    name: str,
    scopes: Collection[str],
    expires_us: int | None = None,
    requests_per_minute: int | None = None,
) -> tuple[str, ApiKey]:
    """Make a key of a tenant.

    Returns:
        The key, for its owner's eyes only, and what is kept of it.

    Raises:
        ServiceError: No such scope, or none.
    """
    unknown = set(scopes) - set(SCOPES)
    if unknown or not scopes:
        raise ServiceError(
            f"scopes must be some of {', '.join(SCOPES)}; got {', '.join(sorted(scopes)) or 'none'}"
        )
    make_tenant(connection, tenant)
    key_id = random.token_hex(8)
    key = f"kdg_{key_id}_{random.token_hex(32)}"
    made = ApiKey(
        id=key_id,
        tenant=tenant,
        name=name,
        scopes=frozenset(scopes),
        created_us=now_us(),
        expires_us=expires_us,
        requests_per_minute=requests_per_minute,
    )
    connection.execute(
        insert(API_KEYS),
        {
            "id": key_id,
            "tenant": tenant,
            "name": name,
            "digest": secrets.digest("api keys", key),
            "scopes": " ".join(sorted(scopes)),
            "created_us": made.created_us,
            "expires_us": expires_us,
            "requests_per_minute": requests_per_minute,
        },
    )
    return key, made


def find_key(connection: Connection, secrets: Secrets, key: str) -> ApiKey | None:
    """Whose key this is; None for a key that was never made. It may be expired or revoked."""
    shape = _KEY.fullmatch(key)
    if shape is None:
        return None
    row = connection.execute(select(API_KEYS).where(API_KEYS.c.id == shape[1])).mappings().first()
    expected = bytes(row["digest"]) if row is not None else bytes(32)
    right = hmac.compare_digest(secrets.digest("api keys", key), expected)
    return _read(row) if row is not None and right else None


def keys_of(connection: Connection, tenant: str) -> list[ApiKey]:
    """A tenant's keys, the newest first."""
    rows = connection.execute(
        select(API_KEYS)
        .where(API_KEYS.c.tenant == tenant)
        .order_by(API_KEYS.c.created_us.desc(), API_KEYS.c.id)
    )
    return [_read(row) for row in rows.mappings()]


def any_key(connection: Connection) -> bool:
    """Whether there is a key at all."""
    return connection.execute(select(API_KEYS.c.id).limit(1)).first() is not None


def end_key(connection: Connection, tenant: str, key_id: str, at_us: int) -> bool:
    """Make a key end at a moment, or earlier if it ends earlier; False where the tenant has none of this id."""
    mine = (API_KEYS.c.tenant == tenant) & (API_KEYS.c.id == key_id)
    row = connection.execute(select(API_KEYS.c.revoked_us).where(mine)).first()
    if row is None:
        return False
    ends = at_us if row.revoked_us is None else min(at_us, row.revoked_us)
    connection.execute(update(API_KEYS).where(mine).values(revoked_us=ends))
    return True


def now_us() -> int:
    """Microseconds since 1970."""
    return time.time_ns() // 1_000


def _read(row: Any) -> ApiKey:
    known = {name: row[name] for name in ApiKey.__slots__ if name != "scopes"}
    return ApiKey(**known, scopes=frozenset(row["scopes"].split()))
