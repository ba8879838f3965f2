"""Checks of marks as jobs."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import orjson

from kdguard.errors import InputError
from kdguard.service.live.errands import ASKED, Done
from kdguard.service.marks import cases
from kdguard.service.marks.checks import check
from kdguard.service.marks.outcome import Outcome
from kdguard.service.marks.registered import CHECKED, MarkFiles
from kdguard.service.marks.vault import Vault
from kdguard.service.store import jobs, registrations
from kdguard.service.store.database import Database
from kdguard.service.store.jobs import Job
from kdguard.service.store.secrets import Secrets

KIND = "mark_check"


@dataclass(frozen=True, slots=True)
class Checker:
    """Does checks.

    Attributes:
        database: Where jobs and registrations stand.
        secrets: What seals plans and cases.
        data: Folder of the service.
        vault: Keys of marks.
    """

    database: Database
    secrets: Secrets
    data: Path
    vault: Vault

    def run(self, job: Job, folder: Path) -> Done:
        """Do a check.

        Raises:
            InputError: Keys, ledger, plan or texts cannot be used.
        """
        told = self._checked(job, folder)
        named = {name: job.given[name] for name in ("kind", "name")}
        kept = {} if told.case is None else cases.sealed(self.secrets, job.id, {"": told.case})
        result = {
            "found": told.found,
            "alpha": told.alpha,
            "searched": told.searched,
            "notes": list(told.notes),
            "lines": told.lines,
            "bundle": told.case is not None,
        }
        return Done(named | result, named | kept)

    def _checked(self, job: Job, folder: Path) -> Outcome:
        asked = orjson.loads((folder / ASKED).read_bytes())
        with self.database.read() as connection:
            mark = registrations.found(connection, job.tenant, CHECKED[asked["kind"]], asked["name"])
        if mark is None:
            raise InputError(f"mark {asked['name']} is registered no more")
        files = MarkFiles(folder.parent.parent, job.tenant, self.secrets)
        return check(asked, mark["body"], files, self.vault, partial(jobs.advance, self.database, job))
