"""The pages in Debian's Chromium, by keyboard alone, in the dark, at phone width."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from tests.scoring_service.issuer import Issuer
from tests.scoring_service.pages.conftest import CLUSTER
from tests.scoring_service.running import Running

CHROMIUM = shutil.which("chromium")
PATHS = (
    "accounts",
    "clusters",
    f"cluster?id={CLUSTER}",
    "account?id=thief-9",
    "lineage",
    "marks",
    "settings",
    "trail",
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    driver = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install 'kdguard[browser]'"
    )
    if CHROMIUM is None:
        pytest.skip("there is no chromium: apt-get install chromium")
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []  # root cannot have the sandbox
    with driver.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=alone)
        yield browser
        browser.close()


def opened(chromium: Any, service: Running, **how: Any) -> tuple[Any, list[str]]:
    """A page of which nobody signed in yet, and what goes wrong on it: complaints, failures, requests elsewhere."""
    page, wrong = chromium.new_context(**how).new_page(), []
    page.on("console", lambda told: wrong.append(told.text) if told.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "request", lambda request: None if request.url.startswith(service.url) else wrong.append(request.url)
    )
    page.goto(f"{service.url}/pages/accounts")
    return page, wrong


def test_by_keyboard_from_signing_in_to_a_conclusion(chromium: Any, visited: Running) -> None:
    page, wrong = opened(chromium, visited)
    page.wait_for_function("document.activeElement.id === 'key'")  # the field takes the focus by itself
    page.keyboard.type(visited.key())
    page.keyboard.press("Enter")
    page.wait_for_url("**/pages/accounts")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    page.keyboard.press("Enter")
    for _ in range(40):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.className") == "name":
            break
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    page.wait_for_url("**/pages/account?id=*")
    page.locator("input[name=disposition]").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.type("looked at by keyboard")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**#conclusions")
    assert "looked at by keyboard" in page.inner_text("#conclusions")
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_at_phone_width_in_either_colour(chromium: Any, visited: Running, scheme: str) -> None:
    page, wrong = opened(chromium, visited, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.fill("#key", visited.key())
    page.click("main button")
    page.wait_for_url("**/pages/accounts")
    for path in PATHS:
        page.goto(f"{visited.url}/pages/{path}")
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, path
        red = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0]")
        assert (int(red) < 60) == (scheme == "dark")
    assert wrong == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_token_signs_in_and_out_by_keyboard_at_phone_width(
    chromium: Any, federated: Running, issuer: Issuer, scheme: str
) -> None:
    page, wrong = opened(chromium, federated, viewport={"width": 360, "height": 740}, color_scheme=scheme)
    page.wait_for_function("document.activeElement.id === 'key'")
    assert page.inner_text("label[for=key]") == "API key or token"
    page.keyboard.insert_text(issuer.token(aud="another service"))  # as pasted
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    assert page.input_value("#key") == ""
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    wrong.clear()  # Chromium itself tells of the 401
    page.locator("#key").focus()
    page.keyboard.insert_text(issuer.token(sub="ann@example.com"))
    page.keyboard.press("Enter")
    page.wait_for_url("**/pages/accounts")
    assert "ann@example.com" in page.inner_text("header")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    assert [cookie["httpOnly"] for cookie in page.context.cookies()] == [True]
    page.locator("header button").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/pages/sign-in")
    assert wrong == []
