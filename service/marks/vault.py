"""Where a tenant's key store and ledger lie: a folder that operators fill and the service only reads.

It is no part of the data folder, so that whoever has that one can neither find nor forge a mark.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kdguard.errors import LedgerError, ServiceError
from kdguard.ledger.keys import KeyStore, open_keys
from kdguard.ledger.log import Ledger, open_ledger

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Vault:
    """Keys of marks, and the commitments to them.

    Attributes:
        root: Folder with a folder a tenant, that with `keys` and `ledger`; None = nothing can be checked or signed.
    """

    root: Path | None

    def keys(self, tenant: str) -> KeyStore:
        """A tenant's key store.

        Raises:
            LedgerError: It is missing, damaged or readable by others.
            ServiceError: No folder is set.
        """
        return self._opened(tenant, "keys", open_keys)

    def ledger(self, tenant: str) -> Ledger:
        """A tenant's ledger.

        Raises:
            LedgerError: It is missing or damaged.
            ServiceError: No folder is set.
        """
        return self._opened(tenant, "ledger", open_ledger)

    def usable(self, tenant: str) -> bool:
        """Whether there is something to open."""
        return self.root is not None and (self.root / tenant / "keys").is_dir()

    def _opened(self, tenant: str, name: str, opens: Callable[[Path], T]) -> T:
        if self.root is None:
            raise ServiceError("keys of marks are needed: set `vault` to the folder that holds them")
        folder = self.root / tenant
        try:
            return opens(folder / name)
        except LedgerError as error:  # whoever reads it need not know where the vault lies
            raise LedgerError(str(error).replace(str(folder), "vault")) from error
