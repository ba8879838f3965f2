"""One process scores a tenant, and what failed once keeps no later try out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import OperationalError

from kdguard.errors import ServiceError
from kdguard.service.live.scoring import TenantScoring
from kdguard.service.store import verdicts
from kdguard.service.store.database import Database
from tests.scoring_service.made import SECRETS, tenant_database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = tenant_database(tmp_path)
    yield made
    made.close()


def fails(*_: Any) -> None:
    raise OperationalError("select", {}, OSError("network error"))


def test_one_process_scores_a_tenant(tmp_path: Path, database: Database) -> None:
    scoring = TenantScoring(database, SECRETS, tmp_path / "one", "one")
    with pytest.raises(ServiceError, match="another process"):
        TenantScoring(database, SECRETS, tmp_path / "one", "one")
    scoring.close()
    TenantScoring(database, SECRETS, tmp_path / "one", "one").close()


def test_a_database_that_goes_away_while_a_tenant_is_opened_keeps_nobody_out(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as away:
        away.setattr(verdicts, "known_verdicts", fails)
        with pytest.raises(OperationalError):
            TenantScoring(database, SECRETS, tmp_path / "one", "one")
    TenantScoring(database, SECRETS, tmp_path / "one", "one").close()


def test_a_state_that_cannot_be_kept_keeps_nobody_out(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    scoring = TenantScoring(database, SECRETS, tmp_path / "one", "one")
    with monkeypatch.context() as full:
        full.setattr(scoring, "save", fails)
        for _ in range(2):
            with pytest.raises(OperationalError):
                scoring.close()
    TenantScoring(database, SECRETS, tmp_path / "one", "one").close()
