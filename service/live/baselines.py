"""Baselines of a tenant: files named by their digest, one of them active; without any, the shipped one serves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, select, update

from kdguard.detectors import default_suite
from kdguard.features.text import hash_identities
from kdguard.scoring.baseline import Baseline
from kdguard.scoring.store import load_baseline
from kdguard.service.ingest.journal import sync_folder
from kdguard.service.store import trail
from kdguard.service.store.api_keys import now_us
from kdguard.service.store.database import upsert
from kdguard.service.store.secrets import salted
from kdguard.service.store.tables import BASELINES

SHIPPED = "shipped"
DELETED = "an account that it learnt from was deleted; learn it anew"


@lru_cache(maxsize=1)
def shipped_baseline() -> Baseline:
    """The baseline that comes with kdguard; it never flags."""
    file = resources.files("kdguard.detectors").joinpath("shipped.safetensors")
    with resources.as_file(file) as path:
        return load_baseline(path, default_suite(third_party=False), shipped=True)


def open_baseline(folder: Path, digest: str) -> Baseline:
    """The baseline of a digest, or the shipped one.

    Raises:
        BaselineError: The file is missing or was made for other detectors.
    """
    return (
        shipped_baseline()
        if digest == SHIPPED
        else load_baseline(folder / f"{digest}.safetensors", default_suite())
    )


def active_digest(connection: Connection, tenant: str) -> str:
    """Digest of the active baseline, or `SHIPPED`."""
    query = select(BASELINES.c.digest).where((BASELINES.c.tenant == tenant) & BASELINES.c.active)
    return connection.execute(query).scalar() or SHIPPED


def store_baseline(folder: Path, content: bytes) -> tuple[str, Baseline]:
    """Check a baseline file and keep it durably under its digest.

    Raises:
        BaselineError: It is none, or was made for other detectors.
    """
    digest = hashlib.sha256(content).hexdigest()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = folder / f"{digest}.partial"
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    try:
        baseline = load_baseline(partial, default_suite())
    except Exception:
        partial.unlink()
        raise
    os.replace(partial, folder / f"{digest}.safetensors")
    sync_folder(folder)
    return digest, baseline


def activate(connection: Connection, tenant: str, digest: str, owners: int) -> None:
    """Make a stored baseline the one that ranks."""
    connection.execute(update(BASELINES).where(BASELINES.c.tenant == tenant).values(active=False))
    row = {"tenant": tenant, "digest": digest, "at_us": now_us(), "active": True, "owners": owners}
    upsert(connection, BASELINES, [row], ["active"])


def add(connection: Connection, tenant: str, digest: str, owners: int, marked: str | None) -> None:
    """Note a stored baseline without ranking by it; of one that is known only the mark changes."""
    row = {"tenant": tenant, "digest": digest, "at_us": now_us(), "active": False, "owners": owners}
    upsert(connection, BASELINES, [row | {"marked": marked}], ["marked"])


def write_names(folder: Path, digest: str, salt: bytes, accounts: Collection[str]) -> frozenset[str]:
    """Note whom a baseline learnt from, under salted names, and return these."""
    names = frozenset(salted(salt, account) for account in accounts)
    (folder / f"{digest}.accounts").write_text("".join(f"{name}\n" for name in sorted(names)))
    return names


def learnt_from(folder: Path, digest: str, name: str) -> bool:
    """Whether a baseline that was learnt here learnt from an account of a salted name."""
    path = folder / f"{digest}.accounts"
    return path.exists() and name in path.read_text().split("\n")


def owners_in(baseline: Baseline) -> frozenset[int]:
    """Hashes of the owners that a baseline ranks among; those it was only taught by are not named in it."""
    panels = [kind.panel.owner for kind in baseline.kinds.values()]
    return frozenset(np.unique(np.concatenate(panels)).tolist())


def owner_hash(name: str) -> int:
    """Hash of an owner as baselines hold it."""
    return int(hash_identities(pa.array([name], pa.string()))[0])


def mark_baselines(
    connection: Connection, tenant: str, folder: Path, account: str, facts: Mapping[str, Any]
) -> int:
    """Mark the baselines that learnt from an account, or rank among its owner; returns how many.

    Args:
        connection: A transaction that writes.
        tenant: Whose.
        folder: Of the baseline files.
        account: Who is deleted.
        facts: What the accounts table says of it.
    """
    owner = owner_hash(facts.get("org_id") or facts.get("payment_hash") or account)
    name, marked = trail.name_of(connection, tenant, account), 0
    digests = select(BASELINES.c.digest).where(BASELINES.c.tenant == tenant)
    for row in connection.execute(digests).all():
        if learnt_from(folder, row.digest, name) or owner in owners_in(open_baseline(folder, row.digest)):
            mine = (BASELINES.c.tenant == tenant) & (BASELINES.c.digest == row.digest)
            connection.execute(update(BASELINES).where(mine).values(marked=DELETED))
            marked += 1
    return marked
