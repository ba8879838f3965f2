"""Keys of accounts: only those that are durable seal anything."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Connection

from kdguard.service.store.account_keys import AccountKeys
from tests.scoring_service.made import SECRETS, tenant_database


def test_a_key_whose_commit_failed_seals_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk fails at the commit; the next account then gets the number of the key that was rolled back."""
    database = tenant_database(tmp_path)
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
