"""What may be written in the ledger: commitments to keys, rotations and revocations. All of it is public."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from kdguard.errors import LedgerError
from kdguard.ledger.canonical import canonical, sha256
from kdguard.ledger.derivation import DerivedKey, KeyName, key_digest, subject_digest


def utc(moment: datetime) -> str:
    """Write a time zone aware moment as RFC 3339 to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def commitment(derived: DerivedKey, params: Mapping[str, Any], valid_from: datetime) -> dict[str, Any]:
    """Commit to a key before its first use, without telling anything of it or of the account.

    Args:
        derived: The key.
        params: What the marks are made with; only their digest is written.
        valid_from: Before this moment nothing was marked with the key.
    """
    return {
        "kind": "commitment",
        "scheme": derived.name.scheme,
        "params_digest": sha256(canonical(dict(params))),
        "key_id": derived.key_id,
        "key_digest": derived.key_digest,
        "subject_digest": derived.subject_digest,
        "generation": derived.generation,
        "valid_from": utc(valid_from),
    }


def rotation(signer_id: str, public: bytes, generation: int, moment: datetime) -> dict[str, Any]:
    """Announce a signing key; the head over it is signed by the key before, or by itself if it is the first."""
    return {
        "kind": "rotation",
        "signer_id": signer_id,
        "public": public.hex(),
        "generation": generation,
        "time": utc(moment),
    }


def revocation(revoked_id: str, reason: str, moment: datetime) -> dict[str, Any]:
    """Declare that a signing key (its id) or a mark's key (its key_id) must not be relied on any more."""
    if not reason.strip():
        raise LedgerError("a revocation must state its reason")
    return {"kind": "revocation", "revoked_id": revoked_id, "reason": reason.strip(), "time": utc(moment)}


def reveal_fits(
    entry: Mapping[str, Any], name: KeyName, key: bytes, salt: bytes, params: Mapping[str, Any]
) -> bool:
    """Say whether a commitment was made to exactly this key, salt, account, epoch and parameters."""
    return (
        entry.get("kind") == "commitment"
        and entry.get("scheme") == name.scheme
        and entry.get("key_digest") == key_digest(key, salt)
        and entry.get("subject_digest") == subject_digest(name, salt)
        and entry.get("params_digest") == sha256(canonical(dict(params)))
    )
