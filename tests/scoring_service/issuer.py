"""An OpenID Connect issuer on this machine: discovery, keys, and tokens as a test wants them."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
import orjson
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

AUDIENCE = "kdguard"
SigningKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey
_MAKERS: dict[str, Any] = {
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


@dataclass
class Issuer:
    """What it signs with and what it tells.

    Attributes:
        url: Where.
        keys: By name, with their algorithms.
        asked: Times that its keys were asked for.
        down: Whether it fails.
    """

    url: str
    keys: dict[str, tuple[str, SigningKey]] = field(default_factory=dict)
    asked: int = 0
    down: bool = False

    def add(self, name: str, algorithm: str = "ES256") -> SigningKey:
        """Begin to sign with a further key."""
        self.keys[name] = (algorithm, _MAKERS[algorithm]())
        return self.keys[name][1]

    def token(self, name: str = "one", header: dict[str, Any] | None = None, **claims: Any) -> str:
        """A token; a claim of None is left out."""
        algorithm, key = self.keys[name]
        told = {part: value for part, value in ({"kid": name} | (header or {})).items() if value is not None}
        return jwt.encode(self.claims(**claims), key, algorithm=algorithm, headers=told)

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Claims of a good token, and others in their place."""
        now = int(time.time())
        good = {"iss": self.url, "aud": AUDIENCE, "sub": "ann", "iat": now, "exp": now + 60}
        good |= {"scope": "openid kdguard:read", "org": "default"} | claims
        return {name: value for name, value in good.items() if value is not None}

    def public(self, name: str) -> bytes:
        """A public key as PEM, as an attacker would find it."""
        return self.keys[name][1].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def told(self, path: str) -> dict[str, Any] | None:
        """What it answers."""
        if path == "/.well-known/openid-configuration":
            return {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        if path != "/keys" or self.down:
            return None
        self.asked += 1
        return {"keys": [_public_key(name, *made) for name, made in self.keys.items()]}


def _public_key(name: str, algorithm: str, key: SigningKey) -> dict[str, Any]:
    made: Any = jwt.get_algorithm_by_name(algorithm)
    return made.to_jwk(key.public_key(), as_dict=True) | {"kid": name, "use": "sig"}


@contextlib.contextmanager
def issuing() -> Iterator[Issuer]:
    """Run an issuer with a key `one`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = orjson.dumps(issuer.told(self.path))
            self.send_response(200 if body != b"null" else 503)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        issuer = Issuer(f"http://127.0.0.1:{server.server_port}")
        issuer.add("one")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield issuer
        server.shutdown()
        thread.join()
