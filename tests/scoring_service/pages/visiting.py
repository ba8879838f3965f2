"""A browser of sorts: cookies, forms as the pages write them, and what a page links to."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx

from tests.scoring_service.running import Running


@dataclass
class Seen(HTMLParser):
    """What a page holds: elements with their attributes, and its text."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        HTMLParser.__init__(self)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """Attributes of each element of a kind."""
        return [attributes for name, attributes in self.elements if name == tag]

    def token(self) -> str:
        """The token that the page's forms carry."""
        (found,) = {one["value"] for one in self.all("input") if one.get("name") == "token"}
        assert found is not None
        return found

    def links(self) -> list[str]:
        """Everything that the page would load or link to."""
        names = ("href", "src", "action", "srcset", "data", "poster", "formaction", "xlink:href")
        return [value for _, told in self.elements for name in names if (value := told.get(name))]


def seen(response: httpx.Response) -> Seen:
    """Read a page."""
    page = Seen()
    page.feed(response.text)
    return page


@dataclass
class Browser:
    """One analyst's browser."""

    client: httpx.Client

    def get(self, path: str, **fields: Any) -> httpx.Response:
        """Open a page."""
        return self.client.get(path, params=fields or None)

    def send(self, path: str, token: str, **fields: str) -> httpx.Response:
        """Send a form."""
        return self.client.post(path, data={"token": token, **fields})

    def token(self) -> str:
        """A token of this session."""
        return seen(self.get("/pages/accounts")).token()


def signed_in(service: Running, key: str) -> Browser:
    """A browser whose analyst signed in with a key."""
    browser = stranger(service)
    response = browser.send("/pages/sign-in", seen(browser.get("/pages/sign-in")).token(), key=key)
    assert response.status_code == 303, response.text
    return browser


def stranger(service: Running) -> Browser:
    """A browser that nobody signed in with."""
    client = httpx.Client(base_url=service.url, timeout=30)
    service.others.append(client)
    return Browser(client)
