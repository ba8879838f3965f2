"""One random key an account, under which its bodies lie in the journal until they are erased.

Destroying the key makes every copy of the bodies unreadable at once: journal segments are not rewritten. Keys are held
in memory too, so a process other than the one that destroys a key forgets it after `FORGET_S` seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Collection, Sequence

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from kdguard.service.store.database import Database
from kdguard.service.store.secrets import Secrets
from kdguard.service.store.tables import ACCOUNT_KEYS

FORGET_S = 60.0
NOBODY = ""
"""The account whose key seals exchanges without an account."""
_MOST_HELD = 200_000
_AT_ONCE = 500


class AccountKeys:
    """Keys of one tenant's accounts.

    Args:
        database: Where they are kept, wrapped.
        secrets: What wraps them.
        tenant: Whose.
    """

    def __init__(self, database: Database, secrets: Secrets, tenant: str) -> None:
        self._database, self._secrets, self._tenant = database, secrets, tenant
        self._lock = threading.Lock()
        self._since = time.monotonic()
        self._by_account: dict[str, tuple[int, AESGCM]] = {}
        self._by_id: dict[int, AESGCM] = {}

    def of_accounts(self, accounts: Sequence[str]) -> list[tuple[int, AESGCM]]:
        """Number and cipher of each account; keys that are missing are made, durably."""
        with self._lock:
            self._forget()
            unknown = [account for account in accounts if account not in self._by_account]
            if unknown:
                self._learn(list(dict.fromkeys(unknown)))
            return [self._by_account[account] for account in accounts]

    def of_ids(self, ids: Collection[int]) -> dict[int, AESGCM]:
        """Ciphers by number; those that were destroyed are left out."""
        with self._lock:
            self._forget()
            unknown = [one for one in ids if one not in self._by_id]
            for start in range(0, len(unknown), _AT_ONCE):
                some = unknown[start : start + _AT_ONCE]
                with self._database.read() as connection:
                    query = select(ACCOUNT_KEYS).where(
                        (ACCOUNT_KEYS.c.tenant == self._tenant) & ACCOUNT_KEYS.c.id.in_(some)
                    )
                    for row in connection.execute(query):
                        self._by_id[row.id] = self._cipher(row.account_id, row.wrapped)
            return {one: self._by_id[one] for one in ids if one in self._by_id}

    def known(self, account: str) -> int | None:
        """Number of an account's key; None where it has none."""
        mine = (ACCOUNT_KEYS.c.tenant == self._tenant) & (ACCOUNT_KEYS.c.account_id == account)
        with self._database.read() as connection:
            return connection.execute(select(ACCOUNT_KEYS.c.id).where(mine)).scalar()

    def destroy(self, connection: Connection, account: str) -> bool:
        """Destroy an account's key, once the transaction ends; False where it has none."""
        with self._lock:
            mine = (ACCOUNT_KEYS.c.tenant == self._tenant) & (ACCOUNT_KEYS.c.account_id == account)
            found = connection.execute(delete(ACCOUNT_KEYS).where(mine).returning(ACCOUNT_KEYS.c.id)).first()
            self._by_account.clear()
            self._by_id.clear()
        return found is not None

    def forget(self) -> None:
        """Ask the database for every key again."""
        with self._lock:
            self._by_account.clear()
            self._by_id.clear()

    def _learn(self, accounts: list[str]) -> None:
        for start in range(0, len(accounts), _AT_ONCE):
            some = accounts[start : start + _AT_ONCE]
            with self._database.read() as connection:
                self._take(connection, some)
            missing = [account for account in some if account not in self._by_account]
            if missing:
                with self._database.write() as connection:
                    self._make(connection, missing)
                # Only what is committed may be held: a number that was rolled back is given out again.
                with self._database.read() as connection:
                    self._take(connection, missing)

    def _make(self, connection: Connection, accounts: list[str]) -> None:
        rows = [
            {
                "tenant": self._tenant,
                "account_id": account,
                "wrapped": self._secrets.wrap(os.urandom(32), self._name(account)),
            }
            for account in accounts
        ]
        dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
        connection.execute(dialect.insert(ACCOUNT_KEYS).on_conflict_do_nothing(), rows)

    def _take(self, connection: Connection, accounts: list[str]) -> None:
        query = select(ACCOUNT_KEYS).where(
            (ACCOUNT_KEYS.c.tenant == self._tenant) & ACCOUNT_KEYS.c.account_id.in_(accounts)
        )
        for row in connection.execute(query):
            cipher = self._cipher(row.account_id, row.wrapped)
            self._by_account[row.account_id] = (row.id, cipher)
            self._by_id[row.id] = cipher

    def _cipher(self, account: str, wrapped: bytes) -> AESGCM:
        return AESGCM(self._secrets.unwrap(bytes(wrapped), self._name(account)))

    def _name(self, account: str) -> str:
        return f"account {self._tenant} {account}"

    def _forget(self) -> None:
        if time.monotonic() - self._since > FORGET_S or len(self._by_id) > _MOST_HELD:
            self._by_account.clear()
            self._by_id.clear()
            self._since = time.monotonic()
