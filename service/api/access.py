"""Who calls, whether they may, and how often."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.concurrency import run_in_threadpool
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from kdguard.service.api.problems import Problem, retry
from kdguard.service.api.state import Service, service_of
from kdguard.service.api.tokens import RefusedToken, Tokens
from kdguard.service.rate_limit import RateLimit
from kdguard.service.store.api_keys import ApiKey, find_key, now_us

LOG = logging.getLogger("kdguard.service")
REMEMBER_S = 2.0
"""For so long a key that was found is believed without asking the database; a revoked key may work for as long."""
_MOST_REMEMBERED = 10_000
_BEARER = HTTPBearer(auto_error=False, description="An API key, `kdg_...`, or a token of the issuer.")
_KEYS = "kdg_"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls.

    Attributes:
        tenant: Whose data they see.
        actor: Their name in the audit trail: the id of the key, or `oidc:` and the subject of the token.
        scopes: What they may do.
    """

    tenant: str
    actor: str
    scopes: frozenset[str]


@dataclass(slots=True)
class Doorkeeper:
    """Remembers keys for a moment, and counts requests.

    Attributes:
        tokens: Reads tokens of an issuer; None = only API keys open anything.
    """

    tokens: Tokens | None = None
    _known: dict[bytes, tuple[float, ApiKey | None]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _rates: RateLimit = field(default_factory=RateLimit)

    def remembered(self, key: str) -> tuple[bool, ApiKey | None]:
        """Whether the key was asked for lately, and what was found."""
        found = self._known.get(_fingerprint(key))
        if found is None or time.monotonic() - found[0] > REMEMBER_S:
            return False, None
        return True, found[1]

    def look_up(self, service: Service, key: str) -> ApiKey | None:
        """Ask the database for an API key."""
        with service.database.read() as connection:
            found = find_key(connection, service.secrets, key)
        self._remember(key, found)
        return found

    def identify(self, service: Service, credential: str) -> ApiKey | None:
        """Ask the database for an API key, or read a token.

        Raises:
            RefusedToken: It is a token that opens nothing.
        """
        if self.tokens is None or credential.startswith(_KEYS):
            return self.look_up(service, credential)
        found = self.tokens.identify(credential)
        self._remember(credential, found)
        return found

    def forget(self) -> None:
        """Ask the database for every key again."""
        with self._lock:
            self._known.clear()

    def count(self, key: ApiKey, otherwise: int) -> None:
        """Count a request.

        Raises:
            Problem: 429, too many in this minute.
        """
        with self._lock:
            allowance = self._rates.take(key.id, key.requests_per_minute or otherwise)
        if not allowance.allowed:
            detail = f"this key may make {allowance.limit:g} requests a minute"
            raise retry(429, "rate", detail, allowance.wait_s)

    def _remember(self, credential: str, found: ApiKey | None) -> None:
        with self._lock:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[_fingerprint(credential)] = (time.monotonic(), found)


Credentials = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]


def allowed(scope: str) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, if their key has a scope; `admin` has none of the others by itself."""

    async def caller(request: Request, credentials: Credentials) -> Caller:
        service, door = service_of(request), doorkeeper_of(request)
        key = None
        if credentials is not None:
            known, key = door.remembered(credentials.credentials)
            if not known:
                try:
                    key = await run_in_threadpool(door.identify, service, credentials.credentials)
                except RefusedToken as refused:
                    raise refusal(request, refused) from refused
        if key is None or not key.usable(now_us()):
            raise Problem(
                401,
                "key",
                "send a usable API key as 'Authorization: Bearer kdg_...'",
                headers={"www-authenticate": "Bearer"},
            )
        door.count(key, service.settings.requests_per_minute)
        if scope not in key.scopes:
            raise Problem(403, "scope", f"this route needs a key with the scope '{scope}'")
        return Caller(key.tenant, key.id, key.scopes)

    return caller


def refusal(request: Request, refused: RefusedToken) -> Problem:
    """What is answered to a token that opens nothing; it is logged, without the token."""
    told = {"request_id": request.state.request_id, "why": str(refused)}
    LOG.warning("token refused", extra={"kd": told})
    headers = {"www-authenticate": 'Bearer error="invalid_token"'}
    return Problem(
        401, "token", f"the bearer token is {refused}; ask the issuer for another", headers=headers
    )


async def _serving(request: Request) -> Service:
    return service_of(request)  # a dependency that is no coroutine would be run in a thread


def doorkeeper_of(request: Request) -> Doorkeeper:
    """The doorkeeper of the app."""
    found: Doorkeeper = request.app.state.doorkeeper
    return found


def _fingerprint(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "replace")).digest()


Reader = Annotated[Caller, Depends(allowed("read"))]
Ingester = Annotated[Caller, Depends(allowed("ingest"))]
Decider = Annotated[Caller, Depends(allowed("decide"))]
Auditor = Annotated[Caller, Depends(allowed("audit"))]
Admin = Annotated[Caller, Depends(allowed("admin"))]
Serving = Annotated[Service, Depends(_serving)]
