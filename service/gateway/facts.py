"""What a decision may rest on: the verdict on the account as it stands, and what this request looks like."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson
import pyarrow as pa

from kdguard.features.signals import MARGIN_SCALE
from kdguard.features.text import hash_words
from kdguard.scoring.suite import LearntTechniqueModel
from kdguard.service.live.baselines import active_digest, open_baseline
from kdguard.service.live.scoring import Folders
from kdguard.service.store.database import Database
from kdguard.service.store.trail import salt_of
from kdguard.service.store.verdicts import verdict_of

REMEMBER_S = 2.0
MOST_CHARACTERS = 20_000
_MOST_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What is known of an account.

    Attributes:
        decision: Verdict on it; "abstain" where there is none.
        p_value: Behind it.
        guarantee_active: Whether the bound on false alarms holds.
        permitted: A contract permits training on outputs.
        clusters: Clusters it is in.
        disposition: What a person concluded.
    """

    decision: str = "abstain"
    p_value: float | None = None
    guarantee_active: bool = False
    permitted: bool = False
    clusters: tuple[str, ...] = ()
    disposition: str | None = None


@dataclass(frozen=True, slots=True)
class Wording:
    """What a request's words look like.

    Attributes:
        technique: The likeliest technique; None where no words were given or no classifier is loaded yet.
        margin_nats: Log-odds of it against an ordinary request.
    """

    technique: str | None = None
    margin_nats: float = 0.0


@dataclass(slots=True)
class Facts:
    """Answers from memory where they are fresh, else from the database.

    Attributes:
        database: Where verdicts are.
        data: Folder of the service.
    """

    database: Database
    data: Path
    _standings: dict[tuple[str, str], tuple[float, Standing]] = field(default_factory=dict)
    _models: dict[str, tuple[float, LearntTechniqueModel]] = field(default_factory=dict)
    _digests: dict[str, str] = field(default_factory=dict)
    _salts: dict[str, bytes] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def remembered(self, tenant: str, account: str) -> Standing | None:
        """The standing if it was asked for lately."""
        found = self._standings.get((tenant, account))
        return None if found is None or time.monotonic() - found[0] > REMEMBER_S else found[1]

    def standing(self, tenant: str, account: str) -> Standing:
        """The standing of an account."""
        found = self.remembered(tenant, account)
        if found is not None:
            return found
        with self.database.read() as connection:
            row = verdict_of(connection, tenant, "account", account)
        told = Standing()
        if row is not None:
            body = orjson.loads(row.body)
            told = Standing(
                decision=row.decision,
                p_value=row.p_value,
                guarantee_active=body["guarantee_state"] == "active",
                permitted=body["permitted"],
                clusters=tuple(body["clusters"]),
                disposition=row.disposition,
            )
        with self._lock:
            if len(self._standings) >= _MOST_REMEMBERED:
                self._standings.clear()
            self._standings[(tenant, account)] = (time.monotonic(), told)
        return told

    def wording(self, tenant: str, texts: Sequence[str]) -> Wording:
        """What a request's texts look like, by the tenant's own classifier."""
        model = self._models.get(tenant)
        if model is None or not texts:
            return Wording()
        words = hash_words(pa.array([text[:MOST_CHARACTERS] for text in texts], pa.string()))
        margins = model[1].margins(words).max(axis=0)
        best = int(margins.argmax())
        return Wording(model[1].techniques[best], float(margins[best]) / MARGIN_SCALE)

    def load(self, tenant: str) -> LearntTechniqueModel:
        """Load the classifier of the tenant's active baseline, if it changed."""
        with self.database.read() as connection:
            digest = active_digest(connection, tenant)
        with self._lock:
            if self._digests.get(tenant) != digest:
                baseline = open_baseline(Folders(self.data / "tenants" / tenant).baselines, digest)
                self._models[tenant] = (time.monotonic(), baseline.suite.technique)
                self._digests[tenant] = digest
        return self._models[tenant][1]

    def loaded(self, tenant: str) -> bool:
        """Whether the tenant has a classifier in memory."""
        return tenant in self._models

    def has_salt(self, tenant: str) -> bool:
        """Whether the salt is in memory."""
        return tenant in self._salts

    def salt(self, tenant: str) -> bytes:
        """The salt of the tenant's names."""
        if tenant not in self._salts:
            with self.database.read() as connection:
                self._salts[tenant] = salt_of(connection, tenant)
        return self._salts[tenant]

    def forget(self, tenant: str, account: str) -> None:
        """Ask the database for an account again."""
        with self._lock:
            self._standings.pop((tenant, account), None)
