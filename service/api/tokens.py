"""Bearer tokens of an OpenID Connect issuer: who they speak for, and what that may do here.

Only what the settings name is believed: one issuer, one audience, asymmetric algorithms, keys by name. A token is
no more than a key that the issuer made for a while, so what comes out is an `ApiKey` named `oidc:<subject>`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jwt
from sqlalchemy import select

from kdguard.service.api.key_set import KeySet
from kdguard.service.api.settings import Oidc
from kdguard.service.store.api_keys import ApiKey, now_us
from kdguard.service.store.database import Database
from kdguard.service.store.tables import TENANTS

TOKEN_ACTOR = "oidc:"
"""Before the subject of a token, where it stands for who did something; no key's id begins so."""
_SUBJECT = re.compile(r"[!-~]{1,255}")
_KEY_TYPES = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "expired"),
    (jwt.ImmatureSignatureError, "not valid yet"),
    (jwt.InvalidIssuedAtError, "issued in the future"),
    (jwt.InvalidAudienceError, "for another audience"),
    (jwt.InvalidIssuerError, "of another issuer"),
    (jwt.MissingRequiredClaimError, "without a claim that it must have"),
    (jwt.InvalidAlgorithmError, "signed by another algorithm"),
    (jwt.InvalidSignatureError, "not signed by the issuer"),
    (jwt.InvalidKeyError, "signed by a key that is too weak or damaged"),
)


class RefusedToken(Exception):  # noqa: N818  (not an error of ours)
    """A token that opens nothing; the message says why, and holds nothing of the token."""


@dataclass(frozen=True, slots=True)
class Tokens:
    """Reads bearer tokens.

    Attributes:
        oidc: What is believed.
        keys: The issuer's.
        database: Where tenants stand.
    """

    oidc: Oidc
    keys: KeySet
    database: Database

    def identify(self, token: str) -> ApiKey:
        """Who a token speaks for.

        Raises:
            RefusedToken: It opens nothing.
            Problem: 503, the issuer's keys cannot be had.
        """
        claims = self._claims(token)
        subject = claims["sub"]
        if not isinstance(subject, str) or not _SUBJECT.fullmatch(subject):
            raise RefusedToken("of a subject that cannot be written down")
        return ApiKey(
            id=TOKEN_ACTOR + subject,
            tenant=self._tenant(claims),
            name=subject,
            scopes=_scopes(claims, self.oidc),
            created_us=now_us(),
            expires_us=int((claims["exp"] + self.oidc.leeway_s) * 1e6),
        )

    def _claims(self, token: str) -> Mapping[str, Any]:
        try:
            header = jwt.get_unverified_header(token)
            return jwt.decode(
                token,
                self._key(header),
                algorithms=list(self.oidc.algorithms),
                audience=self.oidc.audience,
                issuer=self.oidc.issuer,
                leeway=self.oidc.leeway_s,
                options={"require": ["exp", "iss", "aud", "sub"], "enforce_minimum_key_length": True},
            )
        except (jwt.PyJWTError, OverflowError, TypeError, ValueError) as error:  # claims may be of any type
            why = next((told for kind, told in _REASONS if isinstance(error, kind)), "malformed")
            raise RefusedToken(why) from error

    def _key(self, header: Mapping[str, Any]) -> jwt.PyJWK:
        algorithm, name = header.get("alg"), header.get("kid")
        if algorithm not in self.oidc.algorithms:
            raise RefusedToken("signed by another algorithm")
        found = self.keys.find(name) if isinstance(name, str) else None
        if found is None:
            raise RefusedToken("signed by a key that the issuer does not name")
        if found.get("kty") != _KEY_TYPES[algorithm[:2]]:
            raise RefusedToken("signed by another algorithm")
        return jwt.PyJWK(dict(found), found.get("alg", algorithm))

    def _tenant(self, claims: Mapping[str, Any]) -> str:
        tenant = self.oidc.tenant
        if self.oidc.tenant_claim is not None:
            told = claims.get(self.oidc.tenant_claim)
            tenant = told if isinstance(told, str) else ""
            if self.oidc.tenants:
                tenant = self.oidc.tenants.get(tenant, "")
        with self.database.read() as connection:
            known = connection.execute(select(TENANTS.c.id).where(TENANTS.c.id == tenant)).first()
        if known is None:
            raise RefusedToken("of no tenant of this service")
        return tenant


def _scopes(claims: Mapping[str, Any], oidc: Oidc) -> frozenset[str]:
    told = claims.get(oidc.scope_claim, "")
    names = told.split() if isinstance(told, str) else told if isinstance(told, list) else []
    granted = (oidc.grants.get(name, ()) for name in names if isinstance(name, str))
    return frozenset(scope for scopes in granted for scope in scopes)
