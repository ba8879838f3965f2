"""Accounts of a teacher's API and their keys, in a file that holds hashes only.

A key is 192 random bits, so one round of SHA-256 is enough: nobody can try them out.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kdguard.errors import TeacherError

SCHEMA_VERSION = 1
_PREFIX = "kdg-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who calls.

    Attributes:
        account_id: Who is billed.
        key_hash: SHA-256 of the key, hexadecimal.
        org_id: Organisation it belongs to.
        requests_per_minute: Its own limit; the server's if None.
    """

    account_id: str
    key_hash: str
    org_id: str | None = None
    requests_per_minute: float | None = None


class Accounts:
    """Finds the account of a key.

    Args:
        known: The accounts; None accepts every key, each as an account of its own (for loopback).
    """

    def __init__(self, known: tuple[Account, ...] | None) -> None:
        self.is_open = known is None
        self._by_hash = {account.key_hash: account for account in known or ()}

    def find(self, key: str | None) -> Account | None:
        """The account of a key; None if it is not known."""
        digest = hash_of(key or "")
        if self.is_open:
            return Account(account_id=f"key-{digest[:12]}" if key else "anonymous", key_hash=digest)
        return self._by_hash.get(digest) if key else None


def hash_of(key: str) -> str:
    """SHA-256 of a key, hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_accounts(path: Path) -> tuple[Account, ...]:
    """Read a file of accounts.

    Raises:
        TeacherError: The file cannot be read, is of another version, or an account is incomplete.
    """
    try:
        told = json.loads(path.read_bytes())
    except OSError as error:
        raise TeacherError(f"{path}: the keys file cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise TeacherError(f"{path}: the keys file must be JSON: {error}") from error
    version = told.get("schema_version") if isinstance(told, dict) else None
    if version != SCHEMA_VERSION or not isinstance(told.get("accounts"), list):
        raise TeacherError(
            f"{path}: a keys file must have schema_version {SCHEMA_VERSION} and a list 'accounts'"
        )
    found = tuple(_account(path, at, row) for at, row in enumerate(told["accounts"]))
    if len({account.key_hash for account in found}) < len(found):
        raise TeacherError(f"{path}: two accounts have the same key; make new ones")
    return found


def _account(path: Path, place: int, row: Any) -> Account:
    try:
        account = Account(**row)
        good = isinstance(account.account_id, str) and len(bytes.fromhex(account.key_hash)) == 32
    except (TypeError, ValueError):
        good = False
    if not good:
        raise TeacherError(
            f"{path}: account {place} must have account_id and key_hash (64 hexadecimal digits)"
        )
    limit = account.requests_per_minute
    if limit is not None and not (isinstance(limit, int | float) and limit > 0):
        raise TeacherError(
            f"{path}: requests_per_minute of '{account.account_id}' must be above 0, got {limit!r}"
        )
    return account


def add_account(
    path: Path, account_id: str, *, org_id: str | None = None, requests_per_minute: float | None = None
) -> str:
    """Add an account, or another key of one, to a file that is made if absent.

    Returns:
        The key. It is not kept anywhere: this is the only time it is seen.

    Raises:
        TeacherError: The file is damaged or cannot be written.
    """
    known = read_accounts(path) if path.exists() else ()
    key = _PREFIX + secrets.token_urlsafe(24)
    added = Account(
        account_id=account_id, key_hash=hash_of(key), org_id=org_id, requests_per_minute=requests_per_minute
    )
    rows = [
        {name: value for name, value in asdict(one).items() if value is not None} for one in (*known, added)
    ]
    text = json.dumps({"schema_version": SCHEMA_VERSION, "accounts": rows}, indent=2) + "\n"
    try:
        handle, unfinished = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # mode 0600
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(unfinished, path)
    except OSError as error:
        raise TeacherError(f"{path}: the keys file cannot be written: {error.strerror}") from error
    return key
