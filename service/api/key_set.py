"""Public keys of an issuer of tokens: found by its discovery document, kept for a while, asked for again when due."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from kdguard.errors import ServiceError
from kdguard.service.api.problems import retry
from kdguard.service.api.settings import Oidc, is_safe_url

LOG = logging.getLogger("kdguard.service")
REFRESH_S = 300.0
"""Age at which keys are asked for again, so that one the issuer withdrew ends."""
AGAIN_S = 10.0
"""Between two tries, whatever tokens name: strangers cannot make us ask the issuer more often."""
LONGEST_S = 3_600.0
"""Age at which keys are believed no more while the issuer cannot be asked."""
_TIMEOUT_S = 3.0
_MOST_BYTES = 256 << 10
_MOST_KEYS = 100
_DISCOVERY = "/.well-known/openid-configuration"

Key = Mapping[str, Any]
"""A JSON Web Key."""


@dataclass(slots=True)
class KeySet:
    """Keys of one issuer.

    Attributes:
        oidc: Which issuer.
        clock: Seconds, never going back.
    """

    oidc: Oidc
    clock: Callable[[], float] = time.monotonic
    _keys: Mapping[str, Key] = field(default_factory=dict)
    _fetched_s: float = float("-inf")
    _tried_s: float = float("-inf")
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def held(self, name: str) -> bool:
        """Whether `find` would answer without asking the issuer."""
        return name in self._keys and self.clock() - self._fetched_s <= REFRESH_S

    def find(self, name: str) -> Key | None:
        """The key of a name; None where the issuer has none of it.

        Raises:
            Problem: 503, the issuer cannot be asked, and what it said before is too old.
        """
        # a slow issuer holds up one caller, not those whose key is known
        if not self.held(name) and self._lock.acquire(blocking=name not in self._keys):
            try:
                if not self.held(name) and self.clock() - self._tried_s >= AGAIN_S:
                    self._ask()
            finally:
                self._lock.release()
        if self.clock() - self._fetched_s > LONGEST_S:
            raise retry(503, "issuer", "the issuer of tokens cannot be asked for its keys now")
        return self._keys.get(name)

    def _ask(self) -> None:
        self._tried_s = self.clock()
        try:
            self._keys = _fetched(self.oidc)
            self._fetched_s = self._tried_s
        except (httpx.HTTPError, httpx.InvalidURL, ServiceError) as error:
            LOG.warning("keys of the issuer", extra={"kd": {"failed": _why(error)}})


def _fetched(oidc: Oidc) -> Mapping[str, Key]:
    with httpx.Client(timeout=_TIMEOUT_S, follow_redirects=False, trust_env=False) as client:
        place = oidc.keys_url or _discovered(client, oidc.issuer)
        listed = _json(client, place).get("keys")
    if not isinstance(listed, list) or len(listed) > _MOST_KEYS:
        raise ServiceError(f"keys must be a list of at most {_MOST_KEYS}")
    usable = [key for key in listed if isinstance(key, dict) and isinstance(key.get("kid"), str)]
    return {key["kid"]: key for key in usable if key.get("use", "sig") == "sig"}


def _discovered(client: httpx.Client, issuer: str) -> str:
    told = _json(client, issuer.rstrip("/") + _DISCOVERY)
    place = told.get("jwks_uri")
    if told.get("issuer") != issuer:
        raise ServiceError("the discovery document must name the issuer exactly as it is set")
    if not isinstance(place, str) or not is_safe_url(place):
        raise ServiceError("the discovery document must name https keys")
    return place


def _json(client: httpx.Client, url: str) -> dict[str, Any]:
    """A small JSON object from the issuer.

    Raises:
        ServiceError: It is none, too large, or not there.
    """
    body = b""
    with client.stream("GET", url, headers={"accept": "application/json"}) as response:
        if response.status_code != 200:
            raise ServiceError(f"{urlsplit(url).path}: status {response.status_code}")
        for some in response.iter_bytes():
            body += some
            if len(body) > _MOST_BYTES:
                raise ServiceError(f"{urlsplit(url).path}: more than {_MOST_BYTES} bytes")
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise ServiceError(f"{urlsplit(url).path}: not JSON") from error
    if not isinstance(told, dict):
        raise ServiceError(f"{urlsplit(url).path}: not a JSON object")
    return told


def _why(error: Exception) -> str:
    return str(error) if isinstance(error, ServiceError) else type(error).__name__
