"""One master key, many keys: HKDF-SHA256 (RFC 5869) per scheme, account and epoch.

Whoever is shown a derived key learns nothing of the master or of any other derived key.
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from kdguard.ledger.canonical import canonical, sha256
from kdguard.ledger.secret import Secret

KEY_BYTES = 32
SALT_BYTES = 16
_DOMAIN = "kdguard/ledger/v1"


@dataclass(frozen=True, slots=True, order=True)
class KeyName:
    """What a key is for.

    Attributes:
        scheme: Kind of mark, e.g. "canary" or "twins".
        account: Whose outputs it marks; empty for a key that all accounts share.
        epoch: Period in which it marks, e.g. "2026-11".
    """

    scheme: str
    account: str
    epoch: str


@dataclass(frozen=True, slots=True)
class DerivedKey:
    """A key with what binds it to its commitment.

    Attributes:
        name: What it is for.
        generation: Number of the master key it comes from, from 1.
        key: 32 secret bytes that make the marks.
        salt: 16 secret bytes that keep the commitment from being guessed.
        key_id: Public pseudonym, 32 hex digits; says nothing of the account without the master key.
    """

    name: KeyName
    generation: int
    key: Secret
    salt: Secret
    key_id: str

    @property
    def key_digest(self) -> str:
        """SHA-256 of key and salt: what is committed of the key."""
        return key_digest(self.key.reveal(), self.salt.reveal())

    @property
    def subject_digest(self) -> str:
        """SHA-256 of salt and name: what is committed of the account."""
        return subject_digest(self.name, self.salt.reveal())


def key_digest(key: bytes, salt: bytes) -> str:
    """Digest that a commitment holds of a key of 32 bytes and its salt of 16."""
    return sha256(key, salt)


def subject_digest(name: KeyName, salt: bytes) -> str:
    """Digest that a commitment holds of whom the key marks, so that an account cannot be swapped later."""
    return sha256(salt, canonical(["subject", name.scheme, name.account, name.epoch]))


def derive(master: Secret, name: KeyName, generation: int = 1) -> DerivedKey:
    """Derive the key of a scheme, account and epoch.

    Args:
        master: 32 bytes.
        name: What the key is for. Two different names never share a key: the HKDF info is their canonical JSON.
        generation: Number of the master key.
    """
    material = _expand(master, name, KEY_BYTES + SALT_BYTES + 16)
    return DerivedKey(
        name=name,
        generation=generation,
        key=Secret(material[:KEY_BYTES]),
        salt=Secret(material[KEY_BYTES : KEY_BYTES + SALT_BYTES]),
        key_id=material[KEY_BYTES + SALT_BYTES :].hex(),
    )


def _expand(master: Secret, name: KeyName, length: int) -> bytes:
    info = canonical([_DOMAIN, name.scheme, name.account, name.epoch])
    return HKDF(algorithm=SHA256(), length=length, salt=None, info=info).derive(master.reveal())
