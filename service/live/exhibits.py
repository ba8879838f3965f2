"""The text behind exhibits, from the journal, where retention is on."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from kdguard.service.ingest.journal import frames, path_of, sealed
from kdguard.service.ingest.sealing import unseal
from kdguard.service.store.account_keys import AccountKeys

_SHOWN = (
    "request_id",
    "choice",
    "time",
    "model",
    "system",
    "prompt",
    "response",
    "reasoning",
    "finish_reason",
)


def exhibits(
    journal: Path, keys: AccountKeys, tenant: str, account: str, requests: Collection[str]
) -> list[dict[str, Any]]:
    """Some requests of an account with their texts, the newest segment first.

    Args:
        journal: Folder of the journal.
        keys: Keys of the tenant's accounts; only this account's parts are decrypted.
        tenant: Whose.
        account: Whose requests.
        requests: Their ids.
    """
    wanted, found = set(requests), []
    for row in _rows(journal, keys, tenant, account):
        if row["request_id"] in wanted:
            found.append({name: row[name] for name in _SHOWN})
            wanted.discard(row["request_id"])
        if not wanted:
            break
    return found


def _rows(journal: Path, keys: AccountKeys, tenant: str, account: str) -> Iterator[dict[str, Any]]:
    known = keys.known(account)
    if known is None:
        return
    for number in reversed(sealed(journal)):
        for payload in frames(path_of(journal, number)):
            for batch in unseal(payload, keys, tenant, only=known):
                yield from batch.select(list(_SHOWN)).to_pylist()
