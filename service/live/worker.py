"""The loop that keeps every tenant's verdicts up to date, in this process or in one of its own."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from kdguard.errors import InputError
from kdguard.features.text import hash_identities
from kdguard.scoring.findings import Policy
from kdguard.service.live.baselines import active_digest
from kdguard.service.live.errands import Work, carry_out, drop_left_over
from kdguard.service.live.scoring import TenantScoring
from kdguard.service.out.metrics import LOOK_SECONDS, SCORED_AT, SCORING_FAILURES, SUBJECTS
from kdguard.service.out.webhooks import Sender, announce
from kdguard.service.store import jobs
from kdguard.service.store.database import Database
from kdguard.service.store.pruning import prune
from kdguard.service.store.secrets import Secrets
from kdguard.service.store.tables import TENANTS

T = TypeVar("T")
LOG = logging.getLogger("kdguard.service")
_IDLE_S = 0.5
_SAVE_S = 60.0
_TIDY_S = 30.0
_PRUNE_S = 600.0
_PATIENCE_S = 3.0
_SHARE = 0.5
"""At most this share of the time goes into looking at all accounts; the rest is for taking in what comes."""


@dataclass(slots=True)
class Worker:
    """Scores, does jobs and sends webhooks.

    Attributes:
        database: The database.
        secrets: Keys.
        data: Folder of the service.
        policy: Levels.
        refresh_s: Seconds between two looks, at least.
        groups_s: Seconds between two searches for groups, at least.
        hold_s: Seconds that bodies are kept after folding.
        signal_days: Days before the newest exchange that signals are kept; 0 = for ever.
        private_webhooks: Whether webhooks may go to private addresses.
        errands: Jobs that are done beside scoring, by kind.
        waits: Jobs that mostly wait for somebody else, by kind; they delay no errand.
        clock: Seconds, never going back.
        failed: What failed in the latest step, by kind; None = nothing.
    """

    database: Database
    secrets: Secrets
    data: Path
    policy: Policy = field(default_factory=Policy)
    refresh_s: float = 10.0
    groups_s: float = 120.0
    hold_s: float = 86_400.0
    signal_days: int = 0
    private_webhooks: bool = False
    errands: Mapping[str, Work] = field(default_factory=dict)
    waits: Mapping[str, Work] = field(default_factory=dict)
    clock: Callable[[], float] = time.monotonic
    failed: str | None = None
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _tenants: dict[str, _Tenant] = field(default_factory=dict)

    def start(self) -> None:
        """Work in threads of its own until `stop`: one scores, one sends webhooks, two do the other jobs."""
        works = [self.score, self.send_news, self.run_errands, *([self.run_waits] if self.waits else [])]
        self._threads = [threading.Thread(target=work, name=work.__name__, daemon=True) for work in works]
        for thread in self._threads:
            thread.start()

    def trouble(self) -> str | None:
        """Why scores may be old: the latest step failed, or an error of the program ended a thread; None = nothing."""
        ended = ", ".join(thread.name for thread in self._threads if not thread.is_alive())
        if ended and not self._ending.is_set():
            return f"ended by an error that stands in the log, and only a restart goes on: {ended}"
        return None if self.failed is None else f"the latest step failed: {self.failed}"

    def stop(self) -> None:
        """End after the step under way, and keep the state."""
        self._ending.set()
        ends = self.clock() + _PATIENCE_S
        for thread in self._threads:
            thread.join(max(0.0, ends - self.clock()))  # what it loses can be done again from what is on disk

    def score(self) -> None:
        """Score until `stop`."""
        try:
            while not self._ending.is_set():
                if not self.step():
                    self._ending.wait(_IDLE_S)
        finally:
            for tenant in self._tenants.values():
                self._attempt(tenant.scoring.close, [])  # what is not kept is folded again from the journal

    def send_news(self) -> None:
        """Send webhooks until `stop`: slow receivers must not delay scores, nor long audits webhooks."""
        sender = Sender(self.database, self.secrets, allow_private=self.private_webhooks)
        try:
            while not self._ending.wait(_IDLE_S):
                self._attempt(sender.send_due, [])
        finally:
            sender.close()

    def run_errands(self) -> None:
        """Do jobs, and prune, until `stop`."""
        next_prune = 0.0
        while not self._ending.wait(_IDLE_S):
            failures = self._do_jobs(self.errands)
            if self.clock() >= next_prune:
                self._attempt(partial(prune, self.database), failures)
                self._attempt(partial(drop_left_over, self.data), failures)
                next_prune = self.clock() + _PRUNE_S

    def run_waits(self) -> None:
        """Do jobs that wait for somebody else, until `stop`."""
        while not self._ending.wait(_IDLE_S):
            self._do_jobs(self.waits)

    def _do_jobs(self, works: Mapping[str, Work]) -> list[str]:
        """Do a job of each kind that there is one of; what failed."""
        failures: list[str] = []
        for kind, work in works.items():
            job = self._attempt(partial(jobs.lease, self.database, kind), failures)
            if job is not None:
                self._attempt(partial(carry_out, self.database, self.data, job, work), failures)
        return failures

    def step(self) -> bool:
        """Do what is due; whether there was anything to take in. What fails for one tenant does not stop the others."""
        failures: list[str] = []
        names = self._attempt(self._names, failures) or []
        busy = [self._attempt(partial(self._tenant_step, name), failures) for name in names]
        self._attempt(self._forget_step, failures)
        self.failed = ", ".join(sorted(set(failures))) or None
        if failures:
            self._ending.wait(_IDLE_S * 4)
        return any(busy)

    def _attempt(self, work: Callable[[], T], failures: list[str]) -> T | None:
        try:
            return work()
        except (SQLAlchemyError, OSError, InputError) as error:
            SCORING_FAILURES.inc()
            failures.append(type(error).__name__)
            LOG.error("scoring failed", exc_info=True)
            return None

    def _names(self) -> list[str]:
        with self.database.read() as connection:
            return [str(row.id) for row in connection.execute(select(TENANTS.c.id).order_by(TENANTS.c.id))]

    def _tenant_step(self, name: str) -> bool:
        tenant = self._opened(name)
        busy = tenant.scoring.encode() > 0
        now = self.clock()
        if busy:
            tenant.dirty = True
        groups_due = tenant.groups_behind and now >= tenant.next_groups
        if (tenant.dirty or groups_due) and now >= tenant.next_look:
            tenant.look(self, now)
        if now >= tenant.next_tidy:
            tenant.scoring.tidy(self.hold_s)
            if self.signal_days and tenant.scoring.expire(self.signal_days):
                tenant.dirty = True
            tenant.next_tidy = now + _TIDY_S
        return busy

    def _opened(self, name: str) -> _Tenant:
        tenant = self._tenants.get(name)
        with self.database.read() as connection:
            digest = active_digest(connection, name)
        if tenant is not None and tenant.scoring.digest != digest:
            del self._tenants[name]
            tenant.scoring.close()
            tenant = None
        if tenant is None:
            folder = self.data / "tenants" / name
            tenant = _Tenant(TenantScoring(self.database, self.secrets, folder, name, self.policy))
            self._tenants[name] = tenant
        return tenant

    def _forget_step(self) -> None:
        job = jobs.lease(self.database, jobs.FORGET)
        if job is not None:
            account, tenant = str(job.given["account"]), self._opened(job.tenant)
            tenant.scoring.forget(account, subject_of(account))
            tenant.dirty = True
            # the job itself named the account: what stays must not
            jobs.finish(self.database, job, {"forgotten": True}, given={})


@dataclass(slots=True)
class _Tenant:
    scoring: TenantScoring
    dirty: bool = True
    groups_behind: bool = False
    next_look: float = 0.0
    next_groups: float = 0.0
    next_save: float = 0.0
    next_tidy: float = 0.0

    def look(self, worker: Worker, now: float) -> None:
        """Fold what is new, conclude, store and announce."""
        began = worker.clock()
        groups_due = now >= self.next_groups
        segment = self.scoring.fold()
        told = self.scoring.assess(look_for_groups=groups_due)
        changed = self.scoring.keep(told, segment)
        with worker.database.write() as connection:
            announce(connection, self.scoring.tenant, changed)
        took = worker.clock() - began
        self.dirty, self.groups_behind = False, not groups_due
        self.next_look = worker.clock() + max(worker.refresh_s, took / _SHARE - took)
        if groups_due:
            self.next_groups = worker.clock() + max(worker.groups_s, 4 * took)
        if now >= self.next_save:
            self.scoring.save()
            self.next_save = worker.clock() + _SAVE_S
        LOOK_SECONDS.observe(took)
        SCORED_AT.set_to_current_time()
        for decision, count in told.findings.summary["decisions"].items():
            SUBJECTS.labels(decision).set(count)


def subject_of(account: str) -> int:
    """Hash of an account as signals hold it."""
    return int(hash_identities(pa.array([account], pa.string()))[0])
