"""The key store: a directory of mode 0700 with one subdirectory per generation of keys, each file of mode 0600."""

from __future__ import annotations

import os
import secrets
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from kdguard.errors import LedgerError
from kdguard.ledger.derivation import KEY_BYTES, DerivedKey, KeyName, derive
from kdguard.ledger.envelope import signer_id
from kdguard.ledger.secret import Secret

ENVIRONMENT = "KDGUARD_KEYS"
_MASTER, _SIGNING = "master.key", "signing.key"


@dataclass(frozen=True, slots=True)
class Generation:
    """One master key and the signing key that was made with it.

    Attributes:
        number: From 1; higher is newer.
        master: 32 secret bytes; every mark's key comes from it.
        signing: Seed of the Ed25519 key, 32 secret bytes.
    """

    number: int
    master: Secret
    signing: Secret

    def derive(self, name: KeyName) -> DerivedKey:
        """Derive the key of a scheme, account and epoch."""
        return derive(self.master, name, self.number)

    @property
    def private(self) -> Ed25519PrivateKey:
        """The signing key."""
        return Ed25519PrivateKey.from_private_bytes(self.signing.reveal())

    @property
    def public(self) -> bytes:
        """The 32 public bytes of the signing key."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.Raw, serialization.PublicFormat.Raw
        )

    @property
    def signer_id(self) -> str:
        """Public name of the signing key."""
        return signer_id(self.public)


@dataclass(frozen=True, slots=True)
class KeyStore:
    """All generations of keys, oldest first; old ones still derive the keys of old marks.

    Attributes:
        directory: Where they are.
        generations: At least one.
    """

    directory: Path
    generations: tuple[Generation, ...]

    @property
    def current(self) -> Generation:
        """The newest generation: new marks and signatures use it."""
        return self.generations[-1]

    def generation(self, number: int) -> Generation:
        """Find a generation by number.

        Raises:
            LedgerError: It was lost or never made.
        """
        for generation in self.generations:
            if generation.number == number:
                return generation
        have = ", ".join(str(generation.number) for generation in self.generations)
        raise LedgerError(
            f"{self.directory}: key generation {number} is not here (it has {have}); restore it from its backup: "
            "marks made with a lost key can never be verified"
        )


def place_of_keys(given: Path | None) -> Path:
    """Resolve `--keys DIR`, else the environment.

    Raises:
        LedgerError: Neither says where.
    """
    if given is not None:
        return given
    named = os.environ.get(ENVIRONMENT)
    if not named:
        raise LedgerError(f"keys are needed: give --keys DIR or set {ENVIRONMENT}")
    return Path(named)


def create_keys(directory: Path) -> KeyStore:
    """Make a key store with its first generation.

    Raises:
        LedgerError: There are keys already.
    """
    if directory.exists() and any(directory.iterdir()):
        raise LedgerError(
            f"{directory}: must be absent or empty; 'kdguard audit keys rotate' adds a generation"
        )
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    directory.chmod(0o700)
    _write_generation(directory, 1)
    return open_keys(directory)


def rotate_keys(directory: Path) -> KeyStore:
    """Add a generation; the old ones stay, to verify what they marked."""
    _write_generation(directory, open_keys(directory).current.number + 1)
    return open_keys(directory)


def open_keys(directory: Path) -> KeyStore:
    """Read a key store.

    Raises:
        LedgerError: Missing, damaged, or readable by others than its owner.
    """
    if not directory.is_dir():
        raise LedgerError(f"{directory}: no key store is there; 'kdguard audit keys create' makes one")
    _must_be_private(directory, 0o700)
    folders = sorted(path for path in directory.iterdir() if path.name.isdecimal() and path.is_dir())
    if not folders:
        raise LedgerError(f"{directory}: holds no generation of keys; restore it from its backup")
    return KeyStore(directory, tuple(_read_generation(folder) for folder in folders))


def _write_generation(directory: Path, number: int) -> None:
    folder = directory / f"{number:04d}"
    folder.mkdir(mode=0o700)
    for name in (_MASTER, _SIGNING):
        descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())


def _read_generation(folder: Path) -> Generation:
    _must_be_private(folder, 0o700)
    return Generation(int(folder.name), _read_secret(folder / _MASTER), _read_secret(folder / _SIGNING))


def _read_secret(path: Path) -> Secret:
    if not path.is_file():
        raise LedgerError(f"{path}: the key file is missing; restore it from its backup")
    _must_be_private(path, 0o600)
    content = path.read_bytes()
    if len(content) != KEY_BYTES:
        raise LedgerError(
            f"{path}: must hold {KEY_BYTES} bytes, holds {len(content)}; restore it from its backup"
        )
    return Secret(content)


def _must_be_private(path: Path, mode: int) -> None:
    found = stat.S_IMODE(path.stat().st_mode)
    if found & 0o077:
        raise LedgerError(
            f"{path}: must be its owner's alone (mode {mode:04o}), has {found:04o}; others may have read the key: "
            f"'chmod {mode:04o}', then consider 'kdguard audit keys rotate'"
        )
