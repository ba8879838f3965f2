"""What stands on the pages, hostile names included, and what a browser is made to do by them: nothing."""

from __future__ import annotations

import re
from pathlib import Path

import orjson
import pytest
from sqlalchemy import text, update

from kdguard.service.live.lineage_jobs import KIND
from kdguard.service.live.served_jobs import KIND as SERVED
from kdguard.service.marks.jobs import KIND as MARK_CHECK
from kdguard.service.pages.exhibits import BLOT, redacted
from kdguard.service.pages.rendering import passage
from kdguard.service.store import jobs, registrations
from kdguard.service.store.api_keys import now_us
from kdguard.service.store.tables import JOBS, TRAIL, VERDICTS
from tests.scoring_service import logs
from tests.scoring_service.pages.conftest import CLUSTER, HOSTILE, MEMBERS, ODD
from tests.scoring_service.pages.visiting import Browser, seen, signed_in
from tests.scoring_service.running import NDJSON, Running, running, scored

VERDICT = {
    "suspect": "<b>student</b>",
    "teacher_family": "alpha",
    "verdict": "supported",
    "reason": "closer than every control",
    "p_value": 0.006,
    "p_adjusted": 0.012,
    "p_floor": 0.006,
    "log10_e": None,
    "queries": 61,
    "controls": 160,
    "families_tested": 2,
    "evidence": [{"detector": "likeness", "guarantee": "conformal", "summary": "closer than 160 controls"}],
}


@pytest.fixture
def browser(visited: Running) -> Browser:
    return signed_in(visited, visited.key())


@pytest.fixture(scope="session")
def audit(visited: Running) -> str:
    """A lineage audit that is done."""
    with visited.app.state.service.database.write() as connection:
        job = jobs.add(connection, "default", jobs.HELD, {})
        values = {
            "kind": KIND,
            "state": "done",
            "result": orjson.dumps({"verdicts": [VERDICT]}).decode(),
            "ended_us": 1,
        }
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(**values))
    return job


@pytest.fixture(scope="session")
def check(visited: Running) -> str:
    """A check of a mark that is done and named somebody."""
    line = {"subject": HOSTILE, "p_value": 1e-9, "guarantee": "randomised", "summary": "21 of 30 sites"}
    body = {"epoch": "2026-12", "generation": 1, "accounts": 3, "sites": 9}
    result = {"kind": "canary", "name": "december", "found": True, "alpha": 0.001}
    result |= {"searched": "3 accounts", "notes": []}
    with visited.app.state.service.database.write() as connection:
        registrations.put(connection, "default", "canary", "december", body)
        job = jobs.add(connection, "default", jobs.HELD, {})
        lines = [line, line | {"subject": "acct-1", "p_value": 0.4}]
        told = orjson.dumps(result | {"lines": lines, "bundle": True}).decode()
        values = {"kind": MARK_CHECK, "state": "done", "result": told, "ended_us": 1}
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(**values))
    return job


@pytest.fixture(scope="session")
def link(visited: Running) -> str:
    """A log link that is done and names somebody."""
    line = {"account": HOSTILE, "verdict": "supported", "p_adjusted": 0.004, "texts": 30, "against": 90}
    result = {"suspect": "<b>student</b>", "found": True, "lines": [line | {"reason": "likelier"}]}
    with visited.app.state.service.database.write() as connection:
        job = jobs.add(connection, "default", jobs.HELD, {})
        told = orjson.dumps(result | {"bundle": True}).decode()
        values = {"kind": SERVED, "state": "done", "result": told, "ended_us": 1}
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(**values))
    return job


def actions(visited: Running) -> list[str]:
    """What the trail says was done, the newest first."""
    return [one["action"] for one in visited.client.get("/v1/audit", params={"limit": 500}).json()["items"]]


def addresses(audit: str, check: str, link: str) -> list[tuple[str, dict[str, str]]]:
    subjects = [("/pages/account", {"id": name, "text": "full"}) for name in (HOSTILE, "thief-9", *ODD)]
    lists = [("/pages/accounts", {"sort": sort}) for sort in ("rank", "requests", "changed")]
    subjects.append(("/pages/cluster", {"id": CLUSTER}))
    others = (
        "/pages/clusters",
        "/pages/lineage",
        f"/pages/lineage/{audit}",
        f"/pages/lineage/{link}",
        "/pages/marks",
        f"/pages/marks/{check}",
        "/pages/settings",
        "/pages/trail",
    )
    return [*subjects, *lists, *((path, {}) for path in others)]


def test_every_page_is_inert_and_asks_nobody_else(
    browser: Browser, audit: str, check: str, link: str
) -> None:
    for path, fields in addresses(audit, check, link):
        response = browser.get(path, **fields)
        assert response.status_code == 200, (path, fields)
        page = seen(response)
        assert not {"script", "style", "iframe", "object", "embed", "img", "base"} & {
            name for name, _ in page.elements
        }
        for name, told in page.elements:
            assert not [one for one in told if one.startswith("on") or one == "style"], (path, name, told)
        for link in page.links():
            assert link.startswith(("/pages", "#")), (path, link)
        policy = response.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "unsafe" not in policy
        assert response.headers["cache-control"] == "no-store"


def test_every_page_can_be_used_by_keyboard_and_read_aloud(
    browser: Browser, audit: str, check: str, link: str
) -> None:
    for path, fields in addresses(audit, check, link):
        page = seen(browser.get(path, **fields))
        assert page.all("html")[0]["lang"]
        assert page.all("a")[0]["href"] == "#main"
        assert len(page.all("h1")) == 1
        labelled = {one["for"] for one in page.all("label") if "for" in one}
        for name in ("select", "textarea"):
            for one in page.all(name):
                assert one.get("id") in labelled or name == "select"  # a select lies inside its label
        for one in page.all("svg"):
            assert one.get("aria-label") or one.get("aria-hidden") == "true", (path, one)
        assert not [one for one in page.all("a") if not one.get("href")]


def test_hostile_names_are_text(browser: Browser) -> None:
    listed = browser.get("/pages/accounts").text
    assert HOSTILE not in listed
    assert "&lt;script&gt;alert(1)" in listed
    assert "{{ 7 * 7 }}" in listed
    assert "\u202e" not in listed
    assert "acct\\u202e7" in listed


def test_every_name_leads_from_the_list_to_its_account(browser: Browser) -> None:
    page = seen(browser.get("/pages/accounts"))
    links = [link for link in page.links() if link.startswith("/pages/account?")]
    assert len(links) == 12
    names = set()
    for link in links:
        told = seen(browser.get(link))
        names |= {one["value"] for one in told.all("input") if one.get("name") == "id"}
    assert {HOSTILE, *ODD, "thief-9"} <= names


def test_filters_and_sorting(browser: Browser) -> None:
    def names(**fields: str) -> list[str]:
        text = browser.get("/pages/accounts", **fields).text
        return re.findall(r"/pages/account\?id=([^\"]+)\"", text)

    everybody = names()
    assert set(names(prefix="thief-")) == {"thief-9", "thief-10", "thief-11"}
    assert names(prefix="%") == []
    assert set(names(decision="review")) | set(names(decision="clear")) | set(
        names(decision="abstain")
    ) == set(everybody)
    assert len(names(least="24")) >= 4
    assert names(least="25") == []
    assert names(stratum="nothing") == []
    said = [set(names(disposition=value)) for value in ("none", "confirmed", "benign", "watch")]
    assert set().union(*said) == set(everybody)
    assert sum(map(len, said)) == len(everybody)
    assert set(names(sort="requests")) == set(everybody) == set(names(sort="changed"))
    assert names(decision="", prefix="", least="", stratum="", disposition="", cursor="") == everybody


@pytest.mark.parametrize(
    "fields",
    [
        {"decision": "x"},
        {"least": "-1"},
        {"least": "9" * 30},
        {"sort": "x"},
        {"cursor": "x"},
        {"prefix": "a" * 300},
    ],
)
def test_odd_filters_get_a_page_that_says_so(browser: Browser, fields: dict[str, str]) -> None:
    response = browser.get("/pages/accounts", **fields)
    assert response.status_code == 422
    assert "<h1>That cannot be</h1>" in response.text


def test_pages_of_a_list_follow_each_other(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kdguard.service.pages.lists.ROWS", 5)
    for sort in ("rank", "requests", "changed"):
        path, found = f"/pages/accounts?sort={sort}", []
        while path:
            text = browser.get(path).text
            found += re.findall(r"/pages/account\?id=([^\"]+)\"", text)
            following = re.search(r'href="([^"]+)" rel="next"', text)
            path = following[1].replace("&amp;", "&") if following else ""
        assert len(found) == len(set(found)) == 12


def test_an_account_shows_why(browser: Browser) -> None:
    page = browser.get("/pages/account", id="thief-9")
    told = seen(page)
    assert "Requests over time" in told.text
    assert 'class="plot timeline"' in page.text
    assert 'class="strip"' in page.text
    assert "AML.T0024" in told.text
    assert "org-x" in told.text
    assert "2 other accounts of the same owner" in told.text
    assert "r-41-9-" in told.text


def test_texts_are_shown_when_asked_for_and_redacted_first(browser: Browser, visited: Running) -> None:
    before = actions(visited).count("account.read_texts")
    ids = browser.get("/pages/account", id=HOSTILE).text
    assert "Think step by step" not in ids
    blotted = browser.get("/pages/account", id=HOSTILE, text="redacted").text
    assert "Think step by step" in blotted
    assert "ann@example.org" not in blotted
    assert BLOT in blotted
    full = browser.get("/pages/account", id=HOSTILE, text="full").text
    assert "ann@example.org" in full
    assert "<img" not in full
    assert "&lt;img src=x onerror" in full
    assert actions(visited).count("account.read_texts") == before + 2


def test_redaction() -> None:
    text = (
        "ann@example.org, https://a.example/x?y, 203.0.113.7, +49 170 1234567, sk-abcdefgh12345678, 20261128"
    )
    assert redacted(text).replace(BLOT, "").strip(", ") == ""
    assert redacted("12 of 340 in Paris") == "12 of 340 in Paris"


def test_a_passage_keeps_its_lines_and_cannot_turn_the_text_around() -> None:
    assert passage("one\r\n\ttwo\u202e\x1b[31m") == "one\n    two\\u202e\\u001b[31m"


def test_without_retention_the_page_says_so(tmp_path: Path) -> None:
    rows = logs.rows(43, accounts=2, thieves=1, requests=12)
    with running(tmp_path) as service:
        browser = signed_in(service, service.key())
        empty = browser.get("/pages/accounts").text
        assert "Nothing was scored yet" in empty
        for path in ("/pages/clusters", "/pages/lineage", "/pages/settings", "/pages/trail"):
            assert browser.get(path).status_code == 200
        assert "No audit was asked for yet" in browser.get("/pages/lineage").text
        assert "No account has a p-value yet" in browser.get("/pages/settings").text
        service.client.post("/v1/exchanges", content=logs.ndjson(rows), headers=NDJSON)
        scored(service.client, len(rows))
        page = browser.get("/pages/account", id="thief-2", text="full").text
        assert "Retention is off" in page
        assert "Think step by step" not in page


def test_conclusions_are_recorded_and_feed_the_next_baseline(browser: Browser, visited: Running) -> None:
    note = "<i>same card</i>\nas last week"
    sent = browser.send(
        "/pages/dispose", browser.token(), kind="account", id="thief-11", disposition="confirmed", note=note
    )
    assert sent.status_code == 303
    assert sent.headers["location"] == "/pages/account?id=thief-11#conclusions"
    page = browser.get("/pages/account", id="thief-11").text
    assert "Confirmed extraction" in page
    assert "&lt;i&gt;same card&lt;/i&gt;\nas last week</p>" in page
    told = visited.client.get("/v1/accounts/thief-11").json()["dispositions"][0]
    assert (told["disposition"], told["note"]) == ("confirmed", note.replace("\n", "\r\n")) or told[
        "note"
    ] == note
    assert browser.get("/pages/exclusions.txt").text == "thief-11\n"
    assert {"account.dispose", "exclusions.read"} <= set(actions(visited))
    assert "1 account" in seen(browser.get("/pages/settings")).text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"kind": "account", "id": "nobody", "disposition": "watch"}, 404),
        ({"kind": "account", "id": "thief-9", "disposition": "guilty"}, 422),
        ({"kind": "account", "id": "thief-9"}, 422),
        ({"kind": "tenant", "id": "default", "disposition": "watch"}, 422),
        ({"kind": "account", "id": "thief-9", "disposition": "watch", "note": "x" * 4_001}, 422),
        ({"kind": "account", "id": "a\0b", "disposition": "watch"}, 422),
    ],
)
def test_conclusions_that_cannot_be(browser: Browser, fields: dict[str, str], status: int) -> None:
    assert browser.send("/pages/dispose", browser.token(), **fields).status_code == status


def test_a_cluster_shows_what_its_accounts_share(browser: Browser) -> None:
    page = browser.get("/pages/cluster", id=CLUSTER)
    told = seen(page)
    assert 'class="graph"' in page.text
    assert "network" in told.text
    assert page.text.count('class="account ') == len(MEMBERS)
    assert "203.0.113" not in page.text
    assert "c-&lt;7&gt;" in browser.get("/pages/clusters").text


def test_a_conclusion_on_a_cluster_reaches_its_accounts(browser: Browser, visited: Running) -> None:
    fields = {"kind": "cluster", "id": CLUSTER, "disposition": "watch", "note": "one network"}
    assert browser.send("/pages/dispose", browser.token(), **fields).status_code == 303
    assert visited.client.get("/v1/accounts/thief-10").json()["disposition"] is None
    assert browser.send("/pages/dispose", browser.token(), **fields, members="1").status_code == 303
    for account in ("thief-9", "thief-10"):
        told = visited.client.get(f"/v1/accounts/{account}").json()["dispositions"][0]
        assert (told["disposition"], told["note"]) == ("watch", f"one network\n(with cluster {CLUSTER})")
    assert actions(visited).count("account.dispose") >= len(MEMBERS)
    assert "Watch" in seen(browser.get("/pages/accounts", disposition="watch")).text


def test_what_changed_since_the_last_look(visited: Running) -> None:
    key = visited.key("read")
    first = signed_in(visited, key)
    assert "Since your last look" not in first.get("/pages/accounts").text
    again = signed_in(visited, key)
    assert "no decision changed" in again.get("/pages/accounts").text
    assert "No account fits" in again.get("/pages/accounts", changed="1").text
    assert again.send("/pages/seen", again.token()).status_code == 303


def test_a_decision_that_changed_is_marked_until_seen(visited: Running) -> None:
    key = visited.key("read")
    signed_in(visited, key)
    browser = signed_in(visited, key)
    with visited.app.state.service.database.write() as connection:
        changed = update(VERDICTS).where(VERDICTS.c.subject == CLUSTER)
        connection.execute(changed.values(before="clear", changed_us=now_us()))
    page = browser.get("/pages/clusters").text
    assert "1 decision changed" in page
    assert '<span class="new">was Not distinguishable</span>' in page
    assert CLUSTER[:2] in browser.get("/pages/clusters", changed="1").text
    assert browser.send("/pages/seen", browser.token(), next="/pages/clusters").status_code == 303
    page = browser.get("/pages/clusters").text
    assert "no decision changed" in page
    assert 'class="new"' not in page


def test_lineage_audits(browser: Browser, audit: str) -> None:
    assert "1 verdict of 1 supported" in browser.get("/pages/lineage").text
    page = browser.get(f"/pages/lineage/{audit}").text
    assert "closer than 160 controls" in page
    assert "&lt;b&gt;student" in page
    for other in ("0" * 32, "x y", "%2e%2e"):
        assert browser.get(f"/pages/lineage/{other}").status_code == 404


def test_checks_of_marks(browser: Browser, check: str, audit: str) -> None:
    listed = seen(browser.get("/pages/marks"))
    assert "december" in listed.text
    assert "3 accounts, 9 sites" in listed.text
    assert "found" in listed.text
    assert "marks are not here" in listed.text
    told = seen(browser.get(f"/pages/marks/{check}"))
    assert told.text.count("Named") == 1
    assert told.text.count("Not distinguishable") == 1
    assert HOSTILE in told.text
    assert "not who took it or why" in told.text
    assert browser.get(f"/pages/marks/{audit}").status_code == 404


def test_whose_answers(browser: Browser, link: str) -> None:
    assert "an account is named" in seen(browser.get("/pages/lineage")).text
    told = seen(browser.get(f"/pages/lineage/{link}"))
    assert HOSTILE in told.text
    assert "<b>student</b>" in told.text
    assert "not who passed them on" in told.text


def test_the_back_test_counts_what_stands_in_the_table(browser: Browser, visited: Running) -> None:
    items = visited.client.get("/v1/accounts", params={"limit": 500}).json()["items"]
    for alpha in (0.0123, 0.2, 0.47):
        expected = sum(one["p_value"] is not None and one["p_value"] <= alpha for one in items)
        text = " ".join(seen(browser.get("/pages/settings", alpha=str(alpha))).text.split())
        assert f"At alpha = {alpha}, {expected:,} account" in text
    for odd in ("0", "1", "x", "nan", "1e400", "-1"):
        assert browser.get("/pages/settings", alpha=odd).status_code == 422


def test_the_trail_says_whether_it_holds(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        browser = signed_in(service, service.key())
        assert "The chain holds." in browser.get("/pages/trail").text
        with service.app.state.service.database.write() as connection:
            connection.execute(text("DROP TRIGGER audit_trail_no_update"))
            connection.execute(update(TRAIL).where(TRAIL.c.sequence == 1).values(action="nothing.happened"))
        assert "The chain is broken at entry 1." in browser.get("/pages/trail").text


def test_style_sheets_are_served_and_nothing_else(visited: Running, browser: Browser) -> None:
    for name in ("report.css", "pages.css", "icon.svg"):
        told = browser.get(f"/pages/static/{name}")
        assert told.status_code == 200
        assert "url(" not in told.text.replace("url(#", "")
        assert "@import" not in told.text
    for name in ("..%2f__init__.py", "list.html.j2", "x"):
        assert browser.get(f"/pages/static/{name}").status_code == 404
