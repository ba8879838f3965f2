"""Webhooks: signed, retried, and never sent to where a caller could not go by themselves.

The signature is `kdguard-signature: t=SECONDS,v1=HMAC-SHA256(secret, "t.id.body")`; a receiver checks it, and refuses
times older than five minutes and ids it has seen, so that nothing can be replayed. The host is looked up once, its
address checked, and the connection made to that very address; redirects are not followed.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import socket
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson
from sqlalchemy import Connection, delete, insert, select, update

from kdguard.errors import ServiceError
from kdguard.service.store.api_keys import now_us
from kdguard.service.store.database import Database
from kdguard.service.store.secrets import Secrets
from kdguard.service.store.tables import DELIVERIES, WEBHOOKS

EVENTS = ("verdict.changed",)
MOST_ATTEMPTS = 8
_FIRST_WAIT_S = 5.0
_TIMEOUT_S = 5.0
_AT_ONCE = 20
_ANNOUNCED = ("flag", "review")


def make_webhook(
    connection: Connection,
    secrets: Secrets,
    tenant: str,
    url: str,
    events: Sequence[str],
    *,
    allow_private: bool,
) -> tuple[str, str]:
    """Register a webhook; returns its id and its secret, which is shown once.

    Raises:
        ServiceError: The URL or an event is not one that can be used.
    """
    check_url(url, allow_private=allow_private)
    if not events or set(events) - set(EVENTS):
        raise ServiceError(f"events must be some of {', '.join(EVENTS)}")
    webhook, secret = (
        uuid.uuid4().hex,
        f"whsec_{hashlib.sha256(uuid.uuid4().bytes + uuid.uuid4().bytes).hexdigest()}",
    )
    row = {"id": webhook, "tenant": tenant, "url": url, "events": " ".join(events), "created_us": now_us()}
    wrapped = secrets.wrap(secret.encode(), f"webhook {webhook}")
    connection.execute(insert(WEBHOOKS), {**row, "wrapped_secret": wrapped})
    return webhook, secret


def webhooks_of(connection: Connection, tenant: str) -> list[dict[str, Any]]:
    """A tenant's webhooks, without their secrets."""
    rows = connection.execute(
        select(WEBHOOKS).where(WEBHOOKS.c.tenant == tenant).order_by(WEBHOOKS.c.created_us)
    )
    return [
        {"id": row.id, "url": row.url, "events": row.events.split(), "created_us": row.created_us}
        for row in rows
    ]


def drop_webhook(connection: Connection, tenant: str, webhook: str) -> bool:
    """Remove a webhook; False where there is none."""
    mine = (WEBHOOKS.c.tenant == tenant) & (WEBHOOKS.c.id == webhook)
    connection.execute(
        delete(DELIVERIES).where((DELIVERIES.c.tenant == tenant) & (DELIVERIES.c.webhook == webhook))
    )
    return connection.execute(delete(WEBHOOKS).where(mine).returning(WEBHOOKS.c.id)).first() is not None


def deliveries_of(connection: Connection, tenant: str, webhook: str, limit: int = 50) -> list[dict[str, Any]]:
    """What was sent to a webhook, the newest first."""
    table = DELIVERIES.c
    query = (
        select(table.id, table.event, table.state, table.attempts, table.created_us, table.said)
        .where((table.tenant == tenant) & (table.webhook == webhook))
        .order_by(table.created_us.desc(), table.id)
        .limit(limit)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def announce(connection: Connection, tenant: str, changed: Iterable[Mapping[str, Any]]) -> int:
    """Queue the news of verdicts that became, or ceased to be, a flag or a review; returns how many."""
    news = [row for row in changed if row["decision"] in _ANNOUNCED or row["before"] in _ANNOUNCED]
    if not news:
        return 0
    hooks = connection.execute(select(WEBHOOKS.c.id).where(WEBHOOKS.c.tenant == tenant)).all()
    rows = []
    for row in news:
        told = {
            name: row[name] for name in ("kind", "subject", "decision", "before", "p_value", "changed_us")
        }
        for hook in hooks:
            event = uuid.uuid4().hex
            body = orjson.dumps({"id": event, "event": "verdict.changed", "verdict": told}).decode()
            rows.append(
                {"id": event, "tenant": tenant, "webhook": hook.id, "event": "verdict.changed", "body": body}
            )
    now = {"state": "waiting", "attempts": 0, "next_us": now_us(), "created_us": now_us()}
    if rows:
        connection.execute(insert(DELIVERIES), [row | now for row in rows])
    return len(rows)


def check_url(url: str, *, allow_private: bool) -> None:
    """Refuse what is no plain https URL (http too, where private addresses are allowed).

    Raises:
        ServiceError: It is not.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ServiceError("a webhook must have a valid URL") from error
    schemes = {"https", "http"} if allow_private else {"https"}
    if parts.scheme not in schemes or not parts.hostname or parts.username or parts.password or port == 0:
        raise ServiceError(
            f"a webhook must go to {' or '.join(sorted(schemes))}://host[:port]/path without a user"
        )


def address_of(host: str, port: int, *, allow_private: bool) -> str:
    """The address that a webhook's host has now.

    Raises:
        ServiceError: It has none, or one that is not public.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise ServiceError("the host has no address") from error
    addresses = [ipaddress.ip_address(str(entry[4][0]).split("%")[0]) for entry in found]
    if not allow_private and any(not _public(address) for address in addresses):
        raise ServiceError("the host has an address that is not public")
    return str(addresses[0])


def signature(secret: str, event: str, body: bytes, at_s: int) -> str:
    """The header that shows who sent a body, and when."""
    told = f"{at_s}.{event}.".encode() + body
    return f"t={at_s},v1={hmac.digest(secret.encode(), told, hashlib.sha256).hex()}"


class Sender:
    """Sends what is due.

    Args:
        database: Where deliveries wait.
        secrets: What opens the webhooks' secrets.
        allow_private: Whether private addresses may be sent to.
    """

    def __init__(self, database: Database, secrets: Secrets, *, allow_private: bool) -> None:
        self._database, self._secrets, self._allow_private = database, secrets, allow_private
        self._client = httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False)

    def send_due(self) -> int:
        """Send the deliveries that are due, at most some; returns how many were tried."""
        query = (
            select(DELIVERIES, WEBHOOKS.c.url, WEBHOOKS.c.wrapped_secret)
            .join(WEBHOOKS, WEBHOOKS.c.id == DELIVERIES.c.webhook)
            .where((DELIVERIES.c.state == "waiting") & (DELIVERIES.c.next_us <= now_us()))
            .order_by(DELIVERIES.c.next_us)
            .limit(_AT_ONCE)
        )
        with self._database.read() as connection:
            due = connection.execute(query).all()
        for row in due:
            said = self._send(row)
            self._note(row, said)
        return len(due)

    def close(self) -> None:
        """Close connections."""
        self._client.close()

    def _send(self, row: Any) -> str:
        """What came of one attempt; a number of 2xx is success."""
        parts = urlsplit(row.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        secret = self._secrets.unwrap(bytes(row.wrapped_secret), f"webhook {row.webhook}").decode()
        body, at_s = row.body.encode(), int(time.time())
        try:
            address = address_of(parts.hostname or "", port, allow_private=self._allow_private)
            place = f"[{address}]" if ":" in address else address
            request = self._client.build_request(
                "POST",
                parts._replace(netloc=f"{place}:{port}", fragment="").geturl(),
                content=body,
                headers={
                    "host": parts.netloc,
                    "content-type": "application/json",
                    "kdguard-event": row.id,
                    "kdguard-signature": signature(secret, row.id, body, at_s),
                },
                extensions={"sni_hostname": parts.hostname},
            )
            response = self._client.send(request, stream=True)
            response.close()
        except (httpx.HTTPError, httpx.InvalidURL, ServiceError, ValueError) as error:
            return str(error) if isinstance(error, ServiceError) else type(error).__name__
        return str(response.status_code)

    def _note(self, row: Any, said: str) -> None:
        done, tries = said.startswith("2") and said.isdigit(), row.attempts + 1
        wait_us = int(_FIRST_WAIT_S * 2 ** (tries - 1) * 1e6)
        state = "delivered" if done else "failed" if tries >= MOST_ATTEMPTS else "waiting"
        values = {"state": state, "attempts": tries, "next_us": now_us() + wait_us, "said": said}
        with self._database.write() as connection:
            connection.execute(update(DELIVERIES).where(DELIVERIES.c.id == row.id).values(**values))


def _public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo and address.teredo[1])
        if inner:
            return _public(inner)
    return address.is_global and not address.is_multicast
