"""The master key, and the keys derived from it, each for one purpose.

Decision. One key of 32 random bytes lies in a file that only its owner reads; everything else is derived (HKDF-SHA256)
or wrapped (AES-256-GCM) by it. Whoever has the data folder and not this file can read neither bodies nor webhook
secrets and cannot make API keys. Back it up apart from the data: an account's key, once deleted from the database, is
gone only where no older copy of the database *and* of the master key are kept together.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kdguard.errors import ServiceError

_KEY_BYTES, _NONCE_BYTES = 32, 12


@dataclass(frozen=True, slots=True)
class Secrets:
    """Keys of one installation.

    Attributes:
        master: 32 random bytes.
    """

    master: bytes = field(repr=False)

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose."""
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"kdguard {purpose}".encode()).derive(self.master)

    def wrap(self, secret: bytes, bound_to: str) -> bytes:
        """Encrypt a secret so that it opens only under the same name."""
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + AESGCM(self.derived("wrap")).encrypt(nonce, secret, bound_to.encode())

    def unwrap(self, wrapped: bytes, bound_to: str) -> bytes:
        """Undo `wrap`.

        Raises:
            ServiceError: Another master key wrapped it, or it was changed.
        """
        nonce, sealed = wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:]
        try:
            return AESGCM(self.derived("wrap")).decrypt(nonce, sealed, bound_to.encode())
        except InvalidTag as error:
            raise ServiceError(
                "a stored secret does not open: is this the master key of this database?"
            ) from error

    def digest(self, purpose: str, value: str) -> bytes:
        """Keyed digest of a value, 32 bytes."""
        return hmac.digest(self.derived(purpose), value.encode(), hashlib.sha256)


def open_secrets(path: Path) -> Secrets:
    """Read the master key, or make one where there is none.

    Raises:
        ServiceError: The file is readable by others, of a wrong size, or cannot be written.
    """
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(os.urandom(_KEY_BYTES))
                os.fsync(file.fileno())
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ServiceError(f"{path}: the master key must be readable by its owner only; chmod 600 it")
        master = path.read_bytes()
    except OSError as error:
        raise ServiceError(f"{path}: the master key cannot be read or made: {error.strerror}") from error
    if len(master) != _KEY_BYTES:
        raise ServiceError(f"{path}: a master key must have {_KEY_BYTES} bytes, got {len(master)}")
    return Secrets(master)


def salted(salt: bytes, account_id: str) -> str:
    """The name of an account in trails and logs: it cannot be turned back, and not be tried out without the salt."""
    return hmac.digest(salt, account_id.encode(), hashlib.sha256).hex()[:32]
