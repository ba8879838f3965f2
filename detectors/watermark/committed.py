"""Keys of marks out of a key store, and the ledger's word that they were committed to before they were used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from kdguard.detectors.watermark.keys import MarkKey
from kdguard.detectors.watermark.mark import LEDGER_SCHEME, Mark
from kdguard.errors import LedgerError, WatermarkError
from kdguard.ledger.derivation import DerivedKey, KeyName
from kdguard.ledger.entries import reveal_fits
from kdguard.ledger.keys import KeyStore
from kdguard.ledger.log import Ledger


class StoredKey(NamedTuple):
    """A key of the house's own.

    Attributes:
        key: The key.
        name: What the ledger derives it for.
        generation: Number of its master key.
    """

    key: MarkKey
    name: KeyName
    generation: int


def stored_key(mark: Mark, store: KeyStore, ledger: Ledger | None, *, epoch: str, account: str) -> StoredKey:
    """The key of an epoch and account.

    Args:
        mark: The mark it writes.
        store: Where it is derived.
        ledger: Where it must have been committed to, for this very mark; None = its newest generation, unchecked.
        epoch: Period in which it marks.
        account: Whose; empty for one key for all.

    Raises:
        LedgerError: No entry commits to it.
        WatermarkError: It is revoked, or was committed to with another mark.
    """
    name = KeyName(LEDGER_SCHEME, account, epoch)
    derived = store.current.derive(name)
    if ledger is not None:
        derived = _committed(mark, ledger, [old.derive(name) for old in store.generations[::-1]])
    return StoredKey(mark.key_of(derived.key.reveal(), account), name, derived.generation)


def _committed(mark: Mark, ledger: Ledger, derived: Sequence[DerivedKey]) -> DerivedKey:
    """Of one key of each generation, newest first, the one that was committed: old marks outlive a rotation."""
    known = {key.key_id: key for key in derived}
    entry = next((one for one in ledger.commitments() if one["key_id"] in known), None)
    if entry is None:
        whose = f" of account {derived[0].name.account!r}" if derived[0].name.account else ""
        raise LedgerError(
            f"no signed entry of the ledger commits to this key{whose}; it must be committed before it is used, with "
            "'kdguard audit commit'"
        )
    key = known[entry["key_id"]]
    if key.key_id in ledger.revoked():
        raise WatermarkError(f"key {key.key_id[:16]} is revoked: {ledger.revoked()[key.key_id]}")
    if not reveal_fits(entry, key.name, key.key.reveal(), key.salt.reveal(), mark.parameters()):
        raise WatermarkError(
            f"the commitment to key {key.key_id[:16]} was made with other parameters than this mark's"
        )
    return key
