"""Learning a baseline as a job, from what the journal holds of a period, or from exchanges uploaded for it.

Either lies in the job's folder as journal segments, encrypted by account: the journal's own are linked there, so that
they stay while they are read, although the journal may erase them. An account that is deleted meanwhile cannot be read
any more, and the baseline is marked.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

import kdguard
from kdguard.detectors import default_suite
from kdguard.features.lateness import LATENESS
from kdguard.scoring.baseline import Baseline
from kdguard.scoring.store import save_baseline
from kdguard.service.ingest.journal import path_of, sealed
from kdguard.service.live import baselines
from kdguard.service.live.encoding import unseal_segment
from kdguard.service.live.errands import ASKED, Done
from kdguard.service.live.scoring import Folders
from kdguard.service.store import jobs, trail, verdicts
from kdguard.service.store.account_keys import AccountKeys
from kdguard.service.store.accounts import accounts_of
from kdguard.service.store.database import Database
from kdguard.service.store.jobs import Job
from kdguard.service.store.secrets import Secrets

KIND = "baseline"
SEGMENTS = "journal"
_PASSES = 4
"""Times that a log is read: once to see whose it is, three times to learn."""


@dataclass(slots=True)
class Bodies:
    """Exchanges of some segments, read anew each time they are iterated over.

    Attributes:
        folder: Of the segments.
        keys: Keys of the tenant's accounts.
        tenant: Whose.
        since_us, until_us: The period, its end excluded; None = all.
        progress: Told how much was read, of all passes.
        passes: Times that they will be iterated over.
        exchanges: Read in the first pass.
        accounts: Seen in the first pass.
    """

    folder: Path
    keys: AccountKeys
    tenant: str
    since_us: int | None
    until_us: int | None
    progress: Callable[[float], None]
    passes: int = _PASSES
    exchanges: int = 0
    accounts: set[str] = field(default_factory=set)
    _done: int = 0

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        numbers, first = sealed(self.folder), self._done == 0
        for at, number in enumerate(numbers):
            for batch in unseal_segment(self.folder, number, self.keys, self.tenant):
                kept = batch.filter(self._wanted(batch))
                if first:
                    self.exchanges += kept.num_rows
                    self.accounts |= {str(one) for one in pc.unique(kept.column("account_id")).to_pylist()}
                if kept.num_rows:
                    yield kept
            done = min(self._done + (at + 1) / len(numbers), self.passes)
            self.progress(0.9 * done / self.passes)
        self._done += 1

    def _wanted(self, batch: pa.RecordBatch) -> pa.Array[Any]:
        time_us = batch.column("time").cast(pa.int64()).to_numpy()  # every exchange of the journal has one
        wanted = batch.column("account_id").is_valid().to_numpy(zero_copy_only=False)
        since_us, until_us = self.since_us or 0, self.until_us or np.iinfo(np.int64).max
        return pa.array(wanted & (time_us >= since_us) & (time_us < until_us))


@dataclass(frozen=True, slots=True)
class Learning:
    """Learns baselines.

    Attributes:
        database: Where jobs and baselines stand.
        secrets: What opens account keys.
        data: Folder of the service.
    """

    database: Database
    secrets: Secrets
    data: Path

    def run(self, job: Job, folder: Path) -> Done:
        """Learn one.

        Raises:
            BaselineError: There are too few owners, or no prompts.
        """
        asked = orjson.loads((folder / ASKED).read_bytes())
        folders = Folders(self.data / "tenants" / job.tenant)
        bodies = Bodies(
            folder / SEGMENTS,
            AccountKeys(self.database, self.secrets, job.tenant),
            job.tenant,
            asked["since_us"],
            asked["until_us"],
            partial(jobs.advance, self.database, job),
        )
        with self.database.read() as connection:
            accounts = accounts_of(connection, job.tenant)
            confirmed = verdicts.excluded(connection, job.tenant) if asked["exclude_confirmed"] else []
        for _ in bodies:
            pass
        # of those whom people confirmed some may have sent nothing in the period; whoever is named must be in the log
        left_out = set(asked["exclude"]) | (set(confirmed) & bodies.accounts)
        learnt = kdguard.learn_baseline(
            bodies, accounts, default_suite(), exclude=left_out, seed=asked["seed"], lateness=LATENESS
        )
        saved = save_baseline(learnt, folder / "learnt.safetensors")
        baselines.store_baseline(folders.baselines, (folder / "learnt.safetensors").read_bytes())
        named = bodies.accounts - left_out
        marked = self._put(job, folders, saved, named, activate=bool(asked["activate"]))
        return Done(
            {
                "digest": saved.digest,
                "owners": saved.owners,
                "calibration_owners": {name: len(kind.panel) for name, kind in saved.kinds.items()},
                "exchanges": bodies.exchanges,
                "accounts": len(bodies.accounts),
                "excluded": len(bodies.accounts & left_out),
                "active": bool(asked["activate"]),
                "marked": marked,
            }
        )

    def _put(
        self, job: Job, folders: Folders, learnt: Baseline, accounts: Collection[str], *, activate: bool
    ) -> str | None:
        """Store a baseline and whom it learnt from, under salted names; why it is marked already, if it is."""
        with self.database.write() as connection:
            salt = trail.salt_of(connection, job.tenant)
            names = baselines.write_names(folders.baselines, learnt.digest, salt, accounts)
            gone = trail.forgotten_since(connection, job.tenant, jobs.created_us(connection, job.id))
            marked = baselines.DELETED if names & gone else None
            baselines.add(connection, job.tenant, learnt.digest, learnt.owners, marked)
            if activate:
                baselines.activate(connection, job.tenant, learnt.digest, learnt.owners)
            details = {"digest": learnt.digest, "job": job.id, "active": activate}
            trail.record(connection, job.tenant, actor="system", action="baseline.learn", details=details)
        return marked


def link_segments(journal: Path, folder: Path) -> int:
    """Give a job the journal's sealed segments; returns how many there are."""
    folder.mkdir(mode=0o700)
    linked = 0
    for number in sealed(journal):
        try:
            os.link(path_of(journal, number), path_of(folder, number))
        except FileNotFoundError:  # erased in between
            continue
        linked += 1
    return linked
