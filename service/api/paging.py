"""Pages by keyset: a cursor says where the last page ended, signed so that nobody can make one up."""

from __future__ import annotations

import base64
import hmac
from typing import Annotated, Any

import orjson
from fastapi import Query

from kdguard.service.api.problems import Problem
from kdguard.service.store.secrets import Secrets

_MAC_BYTES = 16
Limit = Annotated[int, Query(ge=1, le=500, description="Most entries of a page.")]
Cursor = Annotated[str | None, Query(max_length=4096, description="`next` of the page before.")]


def cursor_of(secrets: Secrets, about: str, place: Any) -> str:
    """A cursor for a place in a list; `about` names the list, so that cursors of others do not fit."""
    body = orjson.dumps(place)
    return base64.urlsafe_b64encode(_mac(secrets, about, body) + body).decode().rstrip("=")


def place_of(secrets: Secrets, about: str, cursor: str | None) -> Any:
    """Where a cursor points; None without one.

    Raises:
        Problem: 422, it was not made for this list.
    """
    if cursor is None:
        return None
    try:
        raw = base64.urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except (ValueError, UnicodeEncodeError):
        raw = b""
    mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(secrets, about, body)):
        raise Problem(422, "cursor", "a cursor must be the `next` of a page of this very list, unchanged")
    return orjson.loads(body)


def _mac(secrets: Secrets, about: str, body: bytes) -> bytes:
    return hmac.digest(secrets.derived("cursors"), about.encode() + b"\0" + body, "sha256")[:_MAC_BYTES]
