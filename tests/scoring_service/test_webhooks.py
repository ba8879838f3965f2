"""Webhooks: signed, retried, and sent nowhere that their owner could not go."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from kdguard.errors import ServiceError
from kdguard.service.out import receiving
from kdguard.service.out.webhooks import address_of, check_url, signature
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
    theirs = receiving.Receiver(made["secret"])
    assert theirs.is_news(headers, body, time.time())
    assert not theirs.is_news(headers, body, time.time())
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


AT_S = 1_790_000_000
BODY = b'{"id":"e1","event":"verdict.changed"}'


def delivery(
    event: str = "e1", body: bytes = BODY, at_s: int = AT_S, secret: str = "whsec_a"
) -> dict[str, str]:
    return {"kdguard-event": event, "kdguard-signature": signature(secret, event, body, at_s)}


@pytest.mark.parametrize(
    ("headers", "body", "now_s", "why"),
    [
        (delivery(secret="whsec_b"), BODY, AT_S, "does not fit"),
        (delivery(), BODY + b" ", AT_S, "does not fit"),
        (delivery() | {"kdguard-event": "e2"}, BODY, AT_S, "does not fit"),
        (
            {name: value.replace(str(AT_S), str(AT_S + 400)) for name, value in delivery().items()},
            BODY,
            AT_S + 400,
            "does not fit",
        ),
        (delivery(), BODY, AT_S + 301, "within 300 s"),
        (delivery(), BODY, AT_S - 301, "within 300 s"),
        ({}, BODY, AT_S, "of the form"),
        (delivery() | {"kdguard-signature": "t=1,v1=00"}, BODY, AT_S, "of the form"),
        (delivery() | {"kdguard-signature": f"t=\u0661,v1={'0' * 64}"}, BODY, AT_S, "of the form"),
    ],
)
def test_a_delivery_that_is_forged_changed_or_old_is_refused(
    headers: dict[str, str], body: bytes, now_s: int, why: str
) -> None:
    with pytest.raises(ServiceError, match=why):
        receiving.Receiver("whsec_a").is_news(headers, body, now_s)


def test_a_delivery_counts_once_however_often_it_comes() -> None:
    theirs = receiving.Receiver("whsec_a")
    assert theirs.is_news(delivery(), BODY, AT_S)
    assert not theirs.is_news(delivery(), BODY, AT_S + 299)  # replayed
    assert not theirs.is_news(delivery(at_s=AT_S + 250), BODY, AT_S + 251)  # sent again by the service
    assert not theirs.is_news(delivery(at_s=AT_S + 250), BODY, AT_S + 549)  # that one, replayed
    assert theirs.is_news(delivery("e3", at_s=AT_S + 549), BODY, AT_S + 549)
    with pytest.raises(ServiceError, match="within"):
        theirs.is_news(delivery(), BODY, AT_S + 551)
    assert theirs.is_news(delivery("e4", at_s=AT_S + 900), BODY, AT_S + 900)
    assert set(theirs._seen) == {"e4"}, "ids that no signature could bring back are forgotten"
