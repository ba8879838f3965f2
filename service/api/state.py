"""What a running service holds, and how a route gets at it."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
from fastapi import Request
from sqlalchemy import select

from kdguard.service.api.settings import Settings
from kdguard.service.gateway.deciding import Gateway
from kdguard.service.ingest.journal import Journal, JournalFull, path_of, sealed
from kdguard.service.ingest.kafka import Feeder
from kdguard.service.ingest.sealing import seal
from kdguard.service.live.scoring import Folders
from kdguard.service.live.worker import Worker
from kdguard.service.marks.vault import Vault
from kdguard.service.out.metrics import BACKLOG_BYTES
from kdguard.service.store.account_keys import AccountKeys
from kdguard.service.store.api_keys import now_us
from kdguard.service.store.database import Database
from kdguard.service.store.secrets import Secrets
from kdguard.service.store.tables import TENANTS

LOG = logging.getLogger("kdguard.service")


@dataclass(slots=True)
class Inbox:
    """Where a tenant's exchanges come in.

    Attributes:
        folders: The tenant's.
        journal: Its journal.
        keys: Keys of its accounts.
    """

    folders: Folders
    journal: Journal
    keys: AccountKeys


@dataclass(slots=True)
class Service:
    """Everything that outlives a request.

    Attributes:
        settings: As started.
        database: The database.
        secrets: Keys.
        gateway: Inline decisions.
        vault: Keys of marks.
        worker: Who scores; None where another process does.
        feeders: What takes exchanges in from Kafka.
        started: Set once requests can be served.
    """

    settings: Settings
    database: Database
    secrets: Secrets
    gateway: Gateway
    vault: Vault
    worker: Worker | None = None
    feeders: list[Feeder] = field(default_factory=list)
    started: bool = False
    _inboxes: dict[str, Inbox] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _ending: threading.Event = field(default_factory=threading.Event)
    _sealer: threading.Thread | None = None

    def folder(self, tenant: str) -> Path:
        """A tenant's folder."""
        return self.settings.data / "tenants" / tenant

    def inbox(self, tenant: str) -> Inbox:
        """A tenant's inbox, opened when it is first needed."""
        with self._lock:
            if tenant not in self._inboxes:
                folders = Folders(self.folder(tenant))
                journal = Journal(folders.journal, most_backlog_bytes=self.settings.most_backlog_bytes)
                self._inboxes[tenant] = Inbox(
                    folders, journal, AccountKeys(self.database, self.secrets, tenant)
                )
            return self._inboxes[tenant]

    def tenants(self) -> list[str]:
        """Every tenant."""
        with self.database.read() as connection:
            return [str(row.id) for row in connection.execute(select(TENANTS.c.id).order_by(TENANTS.c.id))]

    def free_bytes(self) -> int:
        """Free disk under the data folder."""
        return shutil.disk_usage(self.settings.data).free

    @property
    def is_nearly_full(self) -> bool:
        """Whether the disk has too little room to take anything in."""
        return self.free_bytes() < self.settings.least_free_bytes

    def keep(self, tenant: str, batches: Sequence[pa.RecordBatch]) -> None:
        """Make exchanges durable.

        Raises:
            JournalFull: The disk or the backlog is full; nothing was written.
        """
        if self.is_nearly_full:
            raise JournalFull("the disk is nearly full; nothing was taken in")
        inbox = self.inbox(tenant)
        inbox.journal.append(seal(batches, inbox.keys, tenant, received_us=now_us()))

    def start(self) -> None:
        """Open what was left behind, and begin the work in the background."""
        for tenant in self.tenants():
            self.inbox(tenant)
        self._sealer = threading.Thread(target=self._seal_often, name="sealer", daemon=True)
        self._sealer.start()
        if self.worker is not None:
            self.worker.start()
        for feeder in self.feeders:
            feeder.start()
        self.started = True

    def stop(self) -> None:
        """End the work in the background; what was acknowledged is on disk already."""
        self._ending.set()
        if self._sealer is not None:
            self._sealer.join()
        for feeder in self.feeders:
            feeder.stop()
        for inbox in self._inboxes.values():
            inbox.journal.close()
        if self.worker is not None:
            self.worker.stop()
        self.gateway.close()
        self.database.close()

    def journals_failed(self) -> str | None:
        """Why a journal could not be written lately."""
        return next((why for inbox in list(self._inboxes.values()) if (why := inbox.journal.failed)), None)

    def measure(self) -> int:
        """Journal bytes that wait to be scored, over all tenants; also told to each journal."""
        total = 0
        for inbox in list(self._inboxes.values()):
            reach = inbox.folders.passed()
            waiting = [number for number in sealed(inbox.folders.journal) if number > reach]
            sizes = sum(_size(path_of(inbox.folders.journal, number)) for number in waiting)
            inbox.journal.backlog_bytes = sizes + inbox.journal.open_bytes
            total += inbox.journal.backlog_bytes
        BACKLOG_BYTES.set(total)
        return total

    def _seal_often(self) -> None:
        measured = 0.0
        while not self._ending.wait(min(0.25, self.settings.seal_s / 4)):
            try:
                for inbox in list(self._inboxes.values()):
                    inbox.journal.seal(self.settings.seal_s)
                if time.monotonic() - measured > 1.0:
                    measured = time.monotonic()
                    self.measure()
            except OSError as error:  # tried again at once; nothing would be scored if this thread ended
                LOG.error("journals not sealed", extra={"kd": {"error": type(error).__name__}})


def service_of(request: Request) -> Service:
    """The service behind a request."""
    found: Service = request.app.state.service
    return found


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # erased in between
        return 0
