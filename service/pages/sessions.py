"""Sessions of analysts: a signed cookie, and a token for every form.

A key is read anew at every request, so ending it ends its sessions. A token of an issuer cannot be asked about again:
the cookie holds what it granted (not the token itself), and the session ends with it.
"""

from __future__ import annotations

import base64
import hmac
import ipaddress
import secrets as random
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Annotated
from urllib.parse import parse_qsl

import orjson
from fastapi import Depends, Request
from fastapi.concurrency import run_in_threadpool
from starlette.responses import Response

from kdguard.service.api.access import Caller, doorkeeper_of
from kdguard.service.api.exchanges import media_type
from kdguard.service.api.problems import Problem
from kdguard.service.api.state import service_of
from kdguard.service.api.tokens import TOKEN_ACTOR
from kdguard.service.store.api_keys import ApiKey, keys_of, now_us
from kdguard.service.store.secrets import Secrets

COOKIE = "kdguard_session"
IDLE_US = 30 * 60 * 1_000_000
LONGEST_US = 8 * 3_600 * 1_000_000
_RENEW_US = 60 * 1_000_000
_MAC_BYTES = 32
_MOST_FIELDS = 20
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the cookie says.

    Attributes:
        nonce: Names the session; the tokens of its forms come from it.
        tenant, key: Who signed in: their tenant, and the id of their key or the name of their token; empty before.
        began_us, seen_us: When it began, and when the cookie was last written.
        since_us: The look before this session, for what changed since; None = there was none.
        scopes, expires_us: What a token granted, and until when; None = a key signed in.
    """

    nonce: str
    began_us: int
    seen_us: int
    tenant: str = ""
    key: str = ""
    since_us: int | None = None
    scopes: tuple[str, ...] = ()
    expires_us: int | None = None

    def lives(self, at_us: int) -> bool:
        """Whether it may be used."""
        return at_us - self.seen_us < IDLE_US and at_us - self.began_us < LONGEST_US


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page.

    Attributes:
        caller: As the interface for programs knows them.
        name: Of their key.
        session: Of their browser.
    """

    caller: Caller
    name: str
    session: Session


def begin() -> Session:
    """A new session; never one that a browser brought, so that nobody can plant theirs."""
    at_us = now_us()
    return Session(nonce=_random_name(), began_us=at_us, seen_us=at_us)


def begin_as(key: ApiKey, *, since_us: int | None) -> Session:
    """A new session of somebody who signed in."""
    session = replace(begin(), tenant=key.tenant, key=key.id, since_us=since_us)
    if not key.id.startswith(TOKEN_ACTOR):
        return session
    return replace(session, scopes=tuple(sorted(key.scopes)), expires_us=key.expires_us)


def token_of(secrets: Secrets, session: Session) -> str:
    """The token that every form of a session carries."""
    return hmac.digest(secrets.derived("page forms"), session.nonce.encode(), "sha256").hex()


def session_of(request: Request) -> Session | None:
    """The session that a browser brings, if we signed it and it lives."""
    text = request.cookies.get(COOKIE, "")
    try:
        raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
    except (ValueError, UnicodeEncodeError):
        return None
    mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(service_of(request).secrets, body)):
        return None
    told = orjson.loads(body)
    session = Session(**told | {"scopes": tuple(told.get("scopes", ()))})
    return session if session.lives(now_us()) else None


def give(request: Request, response: Response, session: Session) -> None:
    """Put a session into a browser."""
    body = orjson.dumps(asdict(session))
    value = base64.urlsafe_b64encode(_mac(service_of(request).secrets, body) + body).decode().rstrip("=")
    response.set_cookie(
        COOKIE,
        value,
        max_age=IDLE_US // 1_000_000,
        path="/pages",
        httponly=True,
        samesite="strict",
        secure=over_tls(request),
    )


def over_tls(request: Request) -> bool:
    """Whether the browser's connection is encrypted: ours is, or a proxy that is trusted says so of its own."""
    if request.url.scheme == "https":
        return True
    try:
        peer = ipaddress.ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    trusted = any(peer in network for network in service_of(request).settings.trusted_proxies)
    # the last value is the one that the proxy beside us added
    told = request.headers.get("x-forwarded-proto", "").rpartition(",")[2]
    return trusted and told.strip().lower() == "https"


def take(response: Response) -> None:
    """Take the session out of a browser."""
    response.delete_cookie(COOKIE, path="/pages", httponly=True, samesite="strict")


def keep_alive(request: Request, response: Response) -> None:
    """Write the session again, now and then, so that it ends after idleness and not in the middle of work."""
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    written = COOKIE in "".join(response.headers.getlist("set-cookie"))
    if visitor is not None and not written and now_us() - visitor.session.seen_us > _RENEW_US:
        give(request, response, replace(visitor.session, seen_us=now_us()))


def visitor_of(request: Request) -> Visitor:
    """Who looks.

    Raises:
        Problem: 401, nobody signed in; 429, too many requests.
    """
    service, session = service_of(request), session_of(request)
    if session is None or not session.key:
        raise Problem(401, "session", "sign in to see this page")
    key = _key_of(request, session)
    if key is None or not key.usable(now_us()) or "read" not in key.scopes:
        raise Problem(401, "session", "what this session was begun with opens nothing any more; sign in anew")
    doorkeeper_of(request).count(key, service.settings.requests_per_minute)
    visitor = Visitor(Caller(key.tenant, key.id, key.scopes), key.name, session)
    request.state.visitor = visitor
    return visitor


def _key_of(request: Request, session: Session) -> ApiKey | None:
    """The key that a session was begun with as it is now, or what its token granted while tokens are taken."""
    if session.expires_us is None:
        with service_of(request).database.read() as connection:
            mine = (key for key in keys_of(connection, session.tenant) if key.id == session.key)
            return next(mine, None)
    if doorkeeper_of(request).tokens is None:
        return None
    return ApiKey(
        id=session.key,
        tenant=session.tenant,
        name=session.key.removeprefix(TOKEN_ACTOR),
        scopes=frozenset(session.scopes),
        created_us=session.began_us,
        expires_us=session.expires_us,
    )


async def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form that was sent from one of our pages.

    Raises:
        Problem: 415, not a form; 403, it was sent from elsewhere or is too old; 422, not readable.
    """
    if media_type(request) != _FORM:
        raise Problem(415, "media-type", f"a form must be sent as {_FORM}")
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise Problem(403, "form", "a form must be sent from a page of this service")
    try:
        text = (await request.body()).decode()
        fields = dict(parse_qsl(text, keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError as error:
        raise Problem(422, "invalid", "a form must hold few fields, in UTF-8") from error
    session = await run_in_threadpool(session_of, request)
    expected = "" if session is None else token_of(service_of(request).secrets, session)
    if not expected or not hmac.compare_digest(expected.encode(), fields.pop("token", "").encode()):
        raise Problem(
            403, "form", "this form is too old, or not from a page of this service; go back and reload"
        )
    return fields


def _mac(secrets: Secrets, body: bytes) -> bytes:
    return hmac.digest(secrets.derived("page sessions"), body, "sha256")


def _random_name() -> str:
    return random.token_hex(16)


Looking = Annotated[Visitor, Depends(visitor_of)]
Form = Annotated[Mapping[str, str], Depends(form_of)]
