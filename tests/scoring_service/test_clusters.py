"""Clusters keep their name, and what a person said of them, from one search to the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kdguard.scoring.groups.names import Naming, founding_names
from kdguard.scoring.groups.verdicts import GroupVerdicts
from kdguard.service.live import clusters
from kdguard.service.live.clusters import Clusters, Seen, load_clusters
from kdguard.service.live.scoring import TenantScoring
from kdguard.service.live.worker import subject_of
from kdguard.service.store import verdicts
from kdguard.service.store.database import Database
from tests.scoring_service.made import SECRETS, cluster, tenant_database
from tests.scoring_service.pages.visiting import seen, signed_in
from tests.scoring_service.running import running


class Found:
    """What the next search finds, in place of a search."""

    groups: tuple[tuple[str, ...], ...] = ()

    def __call__(
        self, scores: object, baseline: object, signals: object, policy: object, names: Naming
    ) -> GroupVerdicts:
        named = zip(names(self.groups), self.groups, strict=True)
        return GroupVerdicts(tuple(cluster(name, members) for name, members in named))


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Found:
    made = Found()
    monkeypatch.setattr("kdguard.service.live.assessment.look_for_groups", made)
    return made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = tenant_database(tmp_path)
    yield made
    made.close()


def searched(scoring: TenantScoring) -> list[str]:
    """Names of the clusters after a search."""
    told = scoring.assess()
    scoring.keep(told, 0)
    return [verdict.id for verdict in told.findings.verdicts if verdict.kind == "cluster"]


def said(database: Database, name: str) -> str | None:
    with database.read() as connection:
        row = verdicts.verdict_of(connection, "one", "cluster", name)
    return None if row is None else row.disposition


def test_a_cluster_keeps_its_name_and_its_conclusion(
    tmp_path: Path, database: Database, found: Found
) -> None:
    folder = tmp_path / "one"
    scoring = TenantScoring(database, SECRETS, folder, "one")
    found.groups = (("a", "b", "c"), ("x", "y"))
    first, second = searched(scoring)
    assert [first, second] == founding_names(found.groups)
    with database.write() as connection:
        told = {"disposition": "confirmed", "note": "", "actor": "ann", "at_us": 1}
        verdicts.dispose(connection, "one", "cluster", first, **told)  # type: ignore[arg-type]
    found.groups = (("x", "y", "z"), ("a", "b", "c", "d"))  # ranked the other way round, and grown
    assert searched(scoring) == [second, first]
    scoring.close()
    scoring = TenantScoring(database, SECRETS, folder, "one")  # the names outlive the process
    found.groups = ()
    assert searched(scoring) == []
    assert said(database, first) is None
    found.groups = (("a", "b", "d"),)
    assert searched(scoring) == [first]
    assert said(database, first) == "confirmed"
    scoring.close()


def test_a_deleted_account_is_in_no_cluster(tmp_path: Path, database: Database, found: Found) -> None:
    folder = tmp_path / "one"
    scoring = TenantScoring(database, SECRETS, folder, "one")
    found.groups = (("a-deleted-account", "b", "c"), ("a-deleted-account",))
    first, _ = searched(scoring)
    scoring.forget("a-deleted-account", subject_of("a-deleted-account"))
    assert "a-deleted-account" not in (folder / "clusters.json").read_text()
    found.groups = (("b", "c"),)
    assert searched(scoring) == [first]
    scoring.close()


def test_names_are_free_after_a_month(monkeypatch: pytest.MonkeyPatch) -> None:
    old = Clusters({"c-1": Seen(("a", "b"), 0)})
    assert old.after((), clusters.REMEMBERED_US - 1).names([("a", "b")]) == ["c-1"]
    assert old.after((), clusters.REMEMBERED_US).names([("a", "b")]) == founding_names([("a", "b")])


@pytest.mark.parametrize("content", ["", "{}", '{"seen": {"c-1": 1}, "looked_us": 1}', "[1]"])
def test_a_damaged_file_gives_new_names(tmp_path: Path, content: str) -> None:
    (tmp_path / "clusters.json").write_text(content)
    assert load_clusters(tmp_path) == Clusters()


def test_the_page_says_whether_groups_were_looked_for(tmp_path: Path) -> None:
    summary = {"accounts": 3, "decisions": {}, "guarantee_state": "uncalibrated", "groups_tested": 0}
    with running(tmp_path, scores=False) as service:
        browser = signed_in(service, service.key())
        assert "Groups have not been looked for yet" in seen(browser.get("/pages/clusters")).text
        with service.app.state.service.database.write() as connection:
            verdicts.put_summary(connection, "default", summary, 0, 1)
        page = seen(browser.get("/pages/clusters")).text
        assert "Groups have not been looked for yet" in page
        assert "No cluster stands out" not in page
        folder = service.app.state.service.folder("default")
        folder.mkdir(parents=True)
        Clusters({}, 1_764_300_000_000_000).save(folder)
        page = seen(browser.get("/pages/clusters")).text
        assert "No cluster stands out" in page
        assert "last looked for at 2025-11-28" in page
        assert "not been looked for" not in page
