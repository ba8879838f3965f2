"""The pages on PostgreSQL: the same lists, in the same order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.scoring_service import logs
from tests.scoring_service.pages.visiting import Browser, signed_in
from tests.scoring_service.running import NDJSON, running, scored
from tests.scoring_service.test_postgres import cluster, postgres

__all__ = ["cluster", "postgres"]

LOG = logs.rows(44, accounts=5, thieves=2, requests=16)


def names(browser: Browser, sort: str) -> list[str]:
    path, found = f"/pages/accounts?sort={sort}&prefix=&least=3", []
    while path:
        text = browser.get(path).text
        found += re.findall(r"/pages/account\?id=([^\"]+)\"", text)
        following = re.search(r'href="([^"]+)" rel="next"', text)
        path = following[1].replace("&amp;", "&") if following else ""
    return found


def test_every_page_on_both(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdguard.service.pages.lists.ROWS", 2)
    listed = []
    for name in ("lite", "full"):
        url = {"database_url": request.getfixturevalue("postgres")} if name == "full" else {}
        with running(tmp_path / name, **url) as service:
            service.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
            scored(service.client, len(LOG))
            browser = signed_in(service, service.key())
            for path in ("account?id=thief-5", "clusters", "settings?alpha=0.3", "lineage", "trail"):
                assert browser.get(f"/pages/{path}").status_code == 200, path
            listed.append([names(browser, sort) for sort in ("rank", "requests")])
            sent = browser.send(
                "/pages/dispose", browser.token(), kind="account", id="thief-5", disposition="confirmed"
            )
            assert sent.status_code == 303
            assert browser.get("/pages/exclusions.txt").text == "thief-5\n"
    assert listed[0] == listed[1]
    assert [len(found) for found in listed[0]] == [7, 7]
