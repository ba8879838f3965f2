"""Who gets in, for how long, and whose forms count."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from kdguard.service.pages import sessions
from kdguard.service.pages.entry import START, _onward
from kdguard.service.store.api_keys import keys_of, now_us
from tests.scoring_service.issuer import Issuer
from tests.scoring_service.pages.visiting import Browser, seen, signed_in, stranger
from tests.scoring_service.running import Running, running, until

PAGES = (
    "/pages/accounts",
    "/pages/clusters",
    "/pages/account?id=thief-9",
    "/pages/cluster?id=c-1",
    "/pages/lineage",
    "/pages/lineage/abc",
    "/pages/marks",
    "/pages/marks/abc",
    "/pages/settings",
    "/pages/exclusions.txt",
    "/pages/trail",
)


@pytest.mark.parametrize("path", PAGES)
def test_strangers_are_asked_to_sign_in(visited: Running, path: str) -> None:
    response = stranger(visited).get(path)
    assert response.status_code == 303
    assert response.headers["location"].startswith("/pages/sign-in?next=%2Fpages%2F")
    assert "thief" not in response.text


def test_an_api_key_in_a_header_opens_no_page(visited: Running) -> None:
    assert visited.client.get("/pages/accounts").status_code == 303


@pytest.mark.parametrize("key", ["", "kdg_0123456789abcdef_" + "0" * 64, "x" * 5_000, "kdg_é"])
def test_forged_keys(visited: Running, key: str) -> None:
    browser = stranger(visited)
    response = browser.send("/pages/sign-in", seen(browser.get("/pages/sign-in")).token(), key=key)
    assert response.status_code == 401
    assert browser.get("/pages/accounts").status_code == 303


def test_a_key_that_may_not_read(visited: Running) -> None:
    browser = stranger(visited)
    told = browser.send(
        "/pages/sign-in", seen(browser.get("/pages/sign-in")).token(), key=visited.key("ingest")
    )
    assert told.status_code == 403
    assert browser.get("/pages/accounts").status_code == 303


def test_the_cookie(visited: Running) -> None:
    browser = stranger(visited)
    token = seen(browser.get("/pages/sign-in")).token()
    planted = browser.client.cookies["kdguard_session"]
    response = browser.send("/pages/sign-in", token, key=visited.key("read"))
    cookie = response.headers["set-cookie"].lower()
    assert {"httponly", "samesite=strict", "path=/pages"} <= {part.strip() for part in cookie.split(";")}
    assert browser.client.cookies["kdguard_session"] != planted
    assert seen(browser.get("/pages/accounts")).token() != token
    assert "kdg_" not in response.headers["set-cookie"]


@pytest.mark.parametrize(
    ("trusted", "told", "secure"),
    [
        (("127.0.0.0/8",), "https", True),
        (("10.0.0.0/8", "127.0.0.1/32"), "http, HTTPS", True),
        (("127.0.0.0/8",), "https, http", False),
        (("127.0.0.0/8",), "", False),
        (("10.0.0.0/8", "::1/128"), "https", False),
        ((), "https", False),
    ],
)
def test_the_cookie_is_secure_behind_a_trusted_proxy(
    tmp_path: Path, trusted: tuple[str, ...], told: str, secure: bool
) -> None:
    with running(tmp_path, scores=False, trusted_proxies=trusted) as service:
        response = httpx.get(f"{service.url}/pages/sign-in", headers={"x-forwarded-proto": told})
    assert ("; secure" in response.headers["set-cookie"].lower()) is secure


@pytest.mark.parametrize(
    "change", [lambda text: text[:-2] + "AA", lambda text: "A" + text[1:], lambda text: "é"]
)
def test_a_changed_cookie_is_none(visited: Running, change: object) -> None:
    browser = signed_in(visited, visited.key("read"))
    assert callable(change)
    changed = change(browser.client.cookies["kdguard_session"])
    headers = {b"cookie": f"kdguard_session={changed}".encode()}
    assert httpx.get(f"{visited.url}/pages/accounts", headers=headers).status_code == 303


@pytest.mark.parametrize(
    ("began_ago_us", "seen_ago_us", "lives"),
    [
        (0, 0, True),
        (sessions.IDLE_US + 1, sessions.IDLE_US + 1, False),
        (sessions.LONGEST_US - 60_000_000, 1, True),
        (sessions.LONGEST_US + 1, 1, False),
    ],
)
def test_sessions_end(began_ago_us: int, seen_ago_us: int, lives: bool) -> None:
    at_us = now_us()
    session = replace(sessions.begin(), began_us=at_us - began_ago_us, seen_us=at_us - seen_ago_us)
    assert session.lives(at_us) is lives


def test_ending_a_key_ends_its_sessions(visited: Running) -> None:
    made = visited.client.post("/v1/keys", json={"name": "short", "scopes": ["read"]}).json()
    browser = signed_in(visited, made["key"])
    assert browser.get("/pages/accounts").status_code == 200
    visited.client.delete(f"/v1/keys/{made['id']}")
    assert browser.get("/pages/accounts").status_code == 303


def test_signing_out(visited: Running) -> None:
    browser = signed_in(visited, visited.key("read"))
    assert browser.send("/pages/sign-out", browser.token()).status_code == 303
    assert browser.get("/pages/accounts").status_code == 303


FORMS = {
    "/pages/sign-out": {},
    "/pages/seen": {},
    "/pages/dispose": {"kind": "account", "id": "thief-9", "disposition": "benign"},
}


@pytest.mark.parametrize("path", FORMS)
def test_forms_need_the_token_of_their_session(visited: Running, path: str) -> None:
    browser, other = (signed_in(visited, visited.key()) for _ in range(2))
    concluded = {"kind": "account", "id": "thief-9", "disposition": "watch", "note": "before the forms"}
    assert browser.send("/pages/dispose", browser.token(), **concluded).status_code == 303
    for token in ("", "0" * 64, other.token(), "é"):
        assert browser.send(path, token, **FORMS[path]).status_code == 403
    without = browser.client.post(path, data={"x": "y", **FORMS[path]})
    assert without.status_code == 403
    assert visited.client.get("/v1/accounts/thief-9").json()["disposition"] == "watch"


def test_forms_from_elsewhere_or_of_another_kind(visited: Running) -> None:
    browser = signed_in(visited, visited.key())
    fields = {"token": browser.token()}
    elsewhere = browser.client.post("/pages/seen", data=fields, headers={"sec-fetch-site": "cross-site"})
    assert elsewhere.status_code == 403
    assert browser.client.post("/pages/seen", json=fields).status_code == 415
    many = {f"f{at}": "x" for at in range(50)}
    assert browser.client.post("/pages/seen", data=many).status_code == 422
    assert browser.client.post("/pages/sign-in", data={"key": visited.key()}).status_code == 403


@pytest.mark.parametrize(
    ("asked", "given"),
    [
        ("/pages/account?id=a%2Fb", "/pages/account?id=a%2Fb"),
        ("https://elsewhere.example/pages/", START),
        ("//elsewhere.example/pages/", START),
        ("/pages//elsewhere.example", START),
        ("/pages/\\elsewhere", START),
        ("/pages/x\r\nset-cookie: a=b", START),
        ("/v1/keys", START),
        ("", START),
    ],
)
def test_after_signing_in_only_our_pages_follow(asked: str, given: str) -> None:
    assert _onward(asked) == given


def test_what_a_key_may_see(visited: Running) -> None:
    reader = signed_in(visited, visited.key("read"))
    assert reader.get("/pages/trail").status_code == 403
    assert "/pages/trail" not in seen(reader.get("/pages/accounts")).links()
    account = reader.get("/pages/account", id="thief-9", text="full")
    assert "needs a key with the scope" in account.text
    assert "Think step by step" not in account.text
    assert "/pages/dispose" not in seen(account).links()
    token = reader.token()
    refused = reader.send("/pages/dispose", token, kind="account", id="thief-9", disposition="watch")
    assert refused.status_code == 403
    assert "API keys" not in seen(reader.get("/pages/settings")).text


def test_tenants_do_not_see_each_other(visited: Running) -> None:
    other = signed_in(visited, visited.key(tenant="other"))
    assert "Nothing was scored yet" in other.get("/pages/accounts").text
    assert other.get("/pages/account", id="thief-9").status_code == 404
    sent = other.send("/pages/dispose", other.token(), kind="account", id="thief-9", disposition="watch")
    assert sent.status_code == 404
    here = seen(signed_in(visited, visited.key()).get("/pages/accounts", sort="requests")).links()
    for link in here:
        if "cursor=" in link:
            assert other.get(link).status_code == 422
    assert "thief" not in other.get("/pages/trail").text + other.get("/pages/settings").text


def test_sessions_are_kept_alive(visited: Running) -> None:
    browser: Browser = signed_in(visited, visited.key("read"))
    assert "set-cookie" not in browser.get("/pages/accounts").headers
    service = visited.app.state.service
    with service.database.read() as connection:
        key = keys_of(connection, "default")[0]
    old = replace(sessions.begin_as(key, since_us=None), seen_us=now_us() - 120_000_000)
    response = Response()
    scope = {
        "type": "http",
        "app": visited.app,
        "headers": [],
        "scheme": "http",
        "path": "/",
        "server": ("a", 1),
    }
    sessions.give(Request(scope), response, old)
    cookie = response.headers["set-cookie"].split(";")[0]
    renewed = httpx.get(f"{visited.url}/pages/accounts", headers={"cookie": cookie})
    assert renewed.status_code == 200
    assert "set-cookie" in renewed.headers


@pytest.mark.parametrize("path", ["/", "/pages"])
def test_the_address_alone_leads_to_the_pages(visited: Running, path: str) -> None:
    assert stranger(visited).get(path).headers["location"] == START


def test_a_token_signs_in_and_is_kept_nowhere(federated: Running, issuer: Issuer) -> None:
    token = issuer.token(sub="ann@example", scope="auditors")
    browser = signed_in(federated, token)
    shown = browser.get("/pages/trail")
    assert shown.status_code == 200
    assert "oidc:ann@example" in shown.text
    assert token.split(".")[2] not in "".join(f"{one.value}" for one in browser.client.cookies.jar)
    assert browser.send("/pages/sign-out", seen(shown).token()).status_code == 303
    assert browser.get("/pages/accounts").status_code == 303


def test_a_session_may_what_its_token_grants_and_ends_with_it(federated: Running, issuer: Issuer) -> None:
    browser = signed_in(federated, issuer.token(exp=int(time.time()) + 2))
    assert browser.get("/pages/accounts").status_code == 200
    assert browser.get("/pages/trail").status_code == 403
    until(lambda: browser.get("/pages/accounts").status_code == 303, wait_s=10)


@pytest.mark.parametrize(
    ("claims", "status"),
    [
        ({"exp": 1}, 401),
        ({"aud": "another"}, 401),
        ({"iss": "https://elsewhere.example"}, 401),
        ({"scope": "senders"}, 403),
        ({"scope": "openid"}, 403),
    ],
)
def test_a_token_that_opens_no_page(
    federated: Running, issuer: Issuer, claims: dict[str, Any], status: int
) -> None:
    browser = stranger(federated)
    form = seen(browser.get("/pages/sign-in"))
    assert "API key or token" in form.text
    token = issuer.token(**claims)
    answer = browser.send("/pages/sign-in", form.token(), key=token)
    assert answer.status_code == status
    assert token not in answer.text
    assert browser.get("/pages/accounts").status_code == 303


def test_a_token_opens_nothing_where_no_issuer_is_set(visited: Running, issuer: Issuer) -> None:
    browser = stranger(visited)
    form = seen(browser.get("/pages/sign-in"))
    assert "token" not in form.text
    assert browser.send("/pages/sign-in", form.token(), key=issuer.token()).status_code == 401
