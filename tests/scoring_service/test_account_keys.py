"""Keys of accounts: only those that are durable seal anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from kdguard.service.store.account_keys import AccountKeys
from kdguard.service.store.api_keys import make_tenant
from kdguard.service.store.database import Database
from kdguard.service.store.secrets import Secrets

SECRETS = Secrets(bytes(32))


def test_a_key_whose_commit_failed_seals_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk fails at the commit; the next account then gets the number of the key that was rolled back."""
    database = Database(f"sqlite:///{tmp_path}/kdguard.db")
    database.migrate()
    with database.write() as connection:
        make_tenant(connection, "one")
    keys, write = AccountKeys(database, SECRETS, "one"), database.write

    @contextmanager
    def full() -> Iterator[Connection]:
        with write() as connection:
            yield connection
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(database, "write", full)
    with pytest.raises(OSError, match="No space left"):
        keys.of_accounts(["a"])
    monkeypatch.setattr(database, "write", write)
    used = dict(keys.of_accounts(["b", "a"]))
    stored = AccountKeys(database, SECRETS, "one").of_ids(used)
    assert len(used) == len(stored) == 2
    for number, cipher in used.items():
        sealed = cipher.encrypt(b"n" * 12, b"said", b"")
        assert stored[number].decrypt(b"n" * 12, sealed, b"") == b"said"
    database.close()
