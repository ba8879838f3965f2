"""Accounts of a teacher's API and their keys, in a file that holds hashes only.

A key is 192 random bits, so one round of SHA-256 is enough: nobody can try them out.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kdguard.errors import TeacherError
from kdguard.service.private_files import replace_private

SCHEMA_VERSION = 1
_PREFIX = "kdg-"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who calls.

    Attributes:
        account_id: Who is billed.
        key_hash: SHA-256 of the key, 64 hexadecimal digits in lower case.
        org_id: Organisation it belongs to.
        requests_per_minute: Its own limit; the server's if None.

    Raises:
        TeacherError: A value is of another kind or out of range.
    """

    account_id: str
    key_hash: str
    org_id: str | None = None
    requests_per_minute: float | None = None

    def __post_init__(self) -> None:
        limit = self.requests_per_minute
        checks = (
            (_is_text(self.account_id), f"account_id must be a text, got {self.account_id!r}"),
            (
                isinstance(self.key_hash, str) and _DIGEST.fullmatch(self.key_hash),
                "key_hash must be 64 hexadecimal digits in lower case",
            ),
            (self.org_id is None or _is_text(self.org_id), f"org_id must be a text, got {self.org_id!r}"),
            (
                limit is None or (_is_number(limit) and limit > 0),
                f"requests_per_minute must be above 0, got {limit!r}",
            ),
        )
        for holds, otherwise in checks:
            if not holds:
                raise TeacherError(otherwise)


class Accounts:
    """Finds the account of a key.

    Args:
        known: The accounts; None accepts every key, each as an account of its own (for loopback).
    """

    def __init__(self, known: tuple[Account, ...] | None) -> None:
        self._is_open = known is None
        self._by_hash = {account.key_hash: account for account in known or ()}

    def find(self, key: str | None) -> Account | None:
        """The account of a key; None if it is not known."""
        digest = hash_of(key or "")
        if self._is_open:
            return Account(account_id=f"key-{digest[:12]}" if key else "anonymous", key_hash=digest)
        return self._by_hash.get(digest) if key else None


def hash_of(key: str) -> str:
    """SHA-256 of a key, hexadecimal."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def read_accounts(path: Path) -> tuple[Account, ...]:
    """Read a file of accounts.

    Raises:
        TeacherError: The file cannot be read, is of another version, or an account is not complete.
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
    found = tuple(_account(f"{path}: account {at}", row) for at, row in enumerate(told["accounts"]))
    if len({account.key_hash for account in found}) < len(found):
        raise TeacherError(f"{path}: two accounts have the same key; make new ones")
    return found


def add_account(
    path: Path, account_id: str, *, org_id: str | None = None, requests_per_minute: float | None = None
) -> str:
    """Add an account, or another key of one, to a file that is made if absent.

    Returns:
        The key. It is not kept anywhere: this is the only time it is seen.

    Raises:
        TeacherError: The file is damaged or cannot be written, or a value is out of range.
    """
    known = read_accounts(path) if path.exists() else ()
    key = _PREFIX + secrets.token_urlsafe(24)
    added = Account(
        account_id=account_id, key_hash=hash_of(key), org_id=org_id, requests_per_minute=requests_per_minute
    )
    rows = [
        {name: value for name, value in asdict(one).items() if value is not None} for one in (*known, added)
    ]
    replace_private(path, json.dumps({"schema_version": SCHEMA_VERSION, "accounts": rows}, indent=2) + "\n")
    return key


def _account(place: str, row: Any) -> Account:
    try:
        return Account(**row)
    except TeacherError as error:
        raise TeacherError(f"{place}: {error}") from error
    except TypeError as error:
        raise TeacherError(
            f"{place}: must be an object with account_id and key_hash, and at most org_id and "
            "requests_per_minute beside them"
        ) from error


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
