"""One tenant's work: encode what the journal holds, fold it, conclude, store. One process does it at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection

from kdguard.errors import ServiceError
from kdguard.features.lateness import Seen
from kdguard.scoring.findings import Policy
from kdguard.scoring.groups.verdicts import GroupVerdicts
from kdguard.service.ingest.journal import path_of, sealed
from kdguard.service.live import kept, parts
from kdguard.service.live.assessment import Assessment, assess
from kdguard.service.live.baselines import active_digest, open_baseline
from kdguard.service.live.clusters import load_clusters
from kdguard.service.live.encoding import encode_segment
from kdguard.service.live.strongest import Strongest
from kdguard.service.live.tenant_state import TenantState, planned, taken, without
from kdguard.service.store import verdicts
from kdguard.service.store.account_keys import AccountKeys
from kdguard.service.store.accounts import accounts_of
from kdguard.service.store.api_keys import now_us
from kdguard.service.store.database import Database
from kdguard.service.store.secrets import Secrets

_PASSED = "passed"
_ROWS_A_TRANSACTION = 2_000
_DAY_US = 86_400_000_000
_AT_ONCE = 1 / 12


@dataclass(frozen=True, slots=True)
class Folders:
    """Where a tenant's files lie.

    Attributes:
        root: Its folder.
    """

    root: Path

    @property
    def journal(self) -> Path:
        """Segments."""
        return self.root / "journal"

    @property
    def baselines(self) -> Path:
        """Baseline files."""
        return self.root / "baselines"

    def passed(self) -> int:
        """Number of the last segment that any baseline's signals held; what is encoded again is no backlog."""
        marker = self.root / _PASSED
        before = int(marker.read_text()) if marker.exists() else 0
        return max([before, *(parts.encoded_to(folder) for folder in self.root.glob("signals/*"))])

    def drop_others(self, digest: str) -> None:
        """Remove signals and state of baselines that rank no more."""
        here, passed = self.signals(digest), self.passed()
        others = [folder for folder in self.root.glob("signals/*") if folder != here]
        others += [folder for folder in self.root.glob("state/*") if folder != self.state(digest)]
        if others:
            (self.root / f"{_PASSED}.partial").write_text(str(passed))
            os.rename(self.root / f"{_PASSED}.partial", self.root / _PASSED)
        for folder in others:
            shutil.rmtree(folder)

    def signals(self, digest: str) -> Path:
        """Parts of one baseline: signals depend on what it learnt."""
        return self.root / "signals" / digest[:16]

    def state(self, digest: str) -> Path:
        """Kept state of one baseline."""
        return self.root / "state" / digest[:16]


class TenantScoring:
    """Keeps one tenant's verdicts up to date; holds the tenant's lock while it lives.

    Args:
        database: Where verdicts go.
        secrets: The installation's.
        folder: The tenant's folder.
        tenant: Who.
        policy: Levels.

    Raises:
        ServiceError: Another process scores this tenant.
        BaselineError: The active baseline cannot be read.
    """

    def __init__(
        self, database: Database, secrets: Secrets, folder: Path, tenant: str, policy: Policy | None = None
    ) -> None:
        self._database, self.tenant, self._policy = database, tenant, policy or Policy()
        self._keys = AccountKeys(database, secrets, tenant)
        self.folders = Folders(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with ExitStack() as held:
            held.callback(os.close, _locked(folder / "scoring.lock"))
            self._open()
            self._held = held.pop_all()  # whoever cannot open the tenant gives the lock back

    def _open(self) -> None:
        with self._database.read() as connection:
            self.digest = active_digest(connection, self.tenant)
            self._known = verdicts.known_verdicts(connection, self.tenant)
        self.baseline = open_baseline(self.folders.baselines, self.digest)
        self._detectors = self.baseline.suite.detectors
        self._signals, self._kept = self.folders.signals(self.digest), self.folders.state(self.digest)
        self.folders.drop_others(self.digest)
        parts.recover(self._signals)
        self._kept.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._counts = {part: parts.counts_of(self._signals, part) for part in parts.parts_of(self._signals)}
        self._state = kept.load(self._kept, self._detectors) or TenantState()
        self._strongest = Strongest(self._signals)
        self._seen: Seen | None = None
        self._groups: GroupVerdicts | None = None
        self._clusters = self._clusters_saved = load_clusters(self.folders.root)

    def encode(self, most: int = 8) -> int:
        """Encode the next segments, at most so many; returns how many."""
        reach = parts.encoded_to(self._signals)
        numbers = [number for number in sealed(self.folders.journal) if number > reach][:most]
        if numbers and self._seen is None:
            self.fold()
            self._seen = self._state.seen
        for number in numbers:
            assert self._seen is not None
            encoder = self.baseline.suite.encoder
            _, self._seen = encode_segment(
                self.folders.journal, number, self._signals, self._keys, self.tenant, encoder, self._seen
            )
        return len(numbers)

    def fold(self) -> int:
        """Fold the parts that are not folded yet; returns the number of the last segment in the state."""
        self._count()
        spans = [
            (count.first_us, count.last_us)
            for count in self._counts.values()
            if count.exchanges > count.unattributed
        ]
        plan = planned(spans)
        if self._state.plan != plan:
            self._state = TenantState(plan=plan)
        behind = [part for part in parts.parts_of(self._signals) if part.last > self._state.folded_to]
        for reach, signals in parts.in_turns(self._signals, behind):
            self._state = taken(self._state, signals, reach, self._detectors)
        return self._state.folded_to

    def assess(self, *, look_for_groups: bool = True) -> Assessment:
        """Conclude on every account, with groups as last found unless they are to be looked for."""
        with self._database.read() as connection:
            accounts = accounts_of(connection, self.tenant)
        counts = sum(self._counts.values(), parts.Counts())
        groups = None if look_for_groups else self._groups
        told = assess(
            self._state,
            self.baseline,
            accounts,
            self._strongest,
            counts,
            self._policy,
            groups,
            self._clusters.names,
        )
        if groups is None:
            self._clusters = self._clusters.after(told.findings.verdicts, now_us())
        self._groups = told.groups
        return told

    def keep(self, told: Assessment, segment: int) -> list[dict[str, object]]:
        """Store what changed; returns the rows whose decision changed."""
        at_us, rows = now_us(), []
        present = set()
        for verdict in told.findings.verdicts:
            name = (verdict.kind, verdict.id)
            present.add(name)
            row = verdicts.verdict_row(self.tenant, verdict, self._known.get(name), at_us)
            if row is not None:
                rows.append(row)
        for start in range(0, len(rows), _ROWS_A_TRANSACTION):
            some = rows[start : start + _ROWS_A_TRANSACTION]
            with self._database.write() as connection:
                verdicts.put_verdicts(connection, some, at_us)
                self._restore(connection, some)
            self._remember(some)
        gone = self._known.keys() - present
        with self._database.write() as connection:
            verdicts.drop_verdicts(connection, self.tenant, gone)
            verdicts.put_summary(connection, self.tenant, told.findings.summary, segment, at_us)
        for name in gone:
            del self._known[name]
        if self._clusters is not self._clusters_saved:
            self._clusters.save(self.folders.root)
            self._clusters_saved = self._clusters
        return [row for row in rows if row["changed_us"] == at_us]

    def save(self) -> None:
        """Keep the state, so that the next start goes on from here."""
        kept.save(self._state, self._kept, self._detectors)

    def tidy(self, hold_s: float) -> int:
        """Join small parts, and erase segments that are folded and older than `hold_s`; returns how many went."""
        while parts.join_small(self._signals):
            self._count()
        gone = 0
        for number in sealed(self.folders.journal):
            path = path_of(self.folders.journal, number)
            if number <= self._state.folded_to and time.time() - path.stat().st_mtime >= hold_s:
                path.unlink()
                gone += 1
        return gone

    def expire(self, days: float) -> int:
        """Erase signals that are older than so many days, once there are any; returns how many went.

        Age is counted back from the newest exchange and not from now, so that a clock that jumps erases nothing, and a
        log of years ago can be looked at. What was folded cannot be taken out of a state, so the rest is folded anew: a
        twelfth of the time goes at once, so that this happens seldom.
        """
        held = [count for count in self._counts.values() if count.last_us]
        newest_us = max((count.last_us for count in held), default=0)
        if not held or min(count.first_us for count in held) >= newest_us - days * _DAY_US:
            return 0
        shutil.rmtree(self._kept, ignore_errors=True)  # first: it must not outlive what it was folded from
        self._kept.mkdir(mode=0o700)
        gone = parts.expire(self._signals, int(newest_us - days * (1 - _AT_ONCE) * _DAY_US))
        self._counts.clear()
        self._count()
        self._state = TenantState()
        self._strongest.forget()
        self._seen = self._groups = None
        return gone

    def forget(self, account: str, subject: int) -> None:
        """Remove an account's signals and state; its key and rows are the caller's business, and go before."""
        self._keys.forget()
        parts.without(self._signals, subject)
        self._counts.clear()
        self._count()
        self._state = without(self._state, subject)
        self._known.pop(("account", account), None)
        self._clusters = self._clusters.without(account)
        self._clusters.save(self.folders.root)
        self._strongest.forget()
        self._seen = self._groups = None
        self.save()

    def close(self) -> None:
        """Keep the state and give the lock back, even where it cannot be kept."""
        with self._held:
            self.save()

    def _restore(self, connection: Connection, rows: Sequence[dict[str, object]]) -> None:
        """What a person concluded about a cluster that is back."""
        back = [str(row["subject"]) for row in rows if row["kind"] == "cluster"]
        new = [name for name in back if ("cluster", name) not in self._known]
        verdicts.restore_dispositions(connection, self.tenant, "cluster", new)

    def _count(self) -> None:
        here = parts.parts_of(self._signals)
        self._counts = {part: self._counts.get(part) or parts.counts_of(self._signals, part) for part in here}

    def _remember(self, rows: Sequence[dict[str, object]]) -> None:
        for row in rows:
            self._known[(str(row["kind"]), str(row["subject"]))] = verdicts.Known(
                str(row["decision"]),
                int(str(row["changed_us"])),
                None if row["before"] is None else str(row["before"]),
                hash(row["body"]),
            )


def _locked(path: Path) -> int:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise ServiceError(f"{path.parent.name}: another process scores this tenant") from error
    return handle
