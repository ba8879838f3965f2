"""Webhooks: signed, retried, and sent nowhere that their owner could not go."""

from __future__ import annotations

import hashlib
import hmac
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from kdguard.errors import ServiceError
from kdguard.service.out.webhooks import address_of, check_url
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, Running, running, until

LOG = logs.rows(71, requests=60)


class Receiver(BaseHTTPRequestHandler):
    """Fails once, then takes everything."""

    got: list[tuple[dict[str, str], bytes]]
    failures: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        fails = type(self).failures > 0
        type(self).failures -= fails
        type(self).got += [] if fails else [({k.lower(): v for k, v in self.headers.items()}, body)]
        self.send_response(503 if fails else 200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


@pytest.fixture
def receiver() -> Iterator[HTTPServer]:
    Receiver.got, Receiver.failures = [], 1
    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_news_are_signed_and_sent_again(
    tmp_path: Path, receiver: HTTPServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdguard.service.out.webhooks._FIRST_WAIT_S", 0.1)
    url = f"http://127.0.0.1:{receiver.server_port}/hook"
    with running(tmp_path, private_webhooks=True) as service:
        made = service.client.post("/v1/webhooks", json={"url": url}).json()
        service.client.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
        until(lambda: len(Receiver.got) >= 2)
        deliveries = service.client.get(f"/v1/webhooks/{made['id']}/deliveries").json()
        listed = service.client.get("/v1/webhooks").text
    headers, body = Receiver.got[0]
    at, mac = (part.split("=")[1] for part in headers["kdguard-signature"].split(","))
    told = f"{at}.{headers['kdguard-event']}.".encode() + body
    assert mac == hmac.new(made["secret"].encode(), told, hashlib.sha256).hexdigest()
    assert made["secret"] not in listed
    assert b"Think step by step" not in body
    assert max(one["attempts"] for one in deliveries) >= 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "https://user:word@example.org/",
        "ftp://example.org",
        "https:///x",
        "https://[::1",
        "https://example.org:0/",
        "file:///etc/passwd",
    ],
)
def test_urls_that_are_refused(service: Running, url: str) -> None:
    with pytest.raises(ServiceError):
        check_url(url, allow_private=False)
    assert service.client.post("/v1/webhooks", json={"url": url}).status_code == 422


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "10.0.0.1",
        "169.254.169.254",
        "::1",
        "::ffff:127.0.0.1",
        "fd00::1",
        "0.0.0.0",
        "100.64.0.1",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_are_not_public(host: str) -> None:
    with pytest.raises(ServiceError, match="not public"):
        address_of(host, 443, allow_private=False)
