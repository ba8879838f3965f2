"""Bearer tokens of an issuer: what opens something, and everything that must not."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterator

import httpx
import orjson
import pytest
from pydantic import ValidationError

from kdguard.service.api import key_set
from kdguard.service.api.key_set import KeySet
from kdguard.service.api.problems import Problem
from kdguard.service.api.settings import Oidc, Settings
from tests.scoring_service.issuer import AUDIENCE, Issuer, issuing
from tests.scoring_service.running import Running, running, until


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as made:
        for algorithm in ("RS256", "EdDSA"):
            made.add(algorithm, algorithm)
        yield made


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Running]:
    oidc = {
        "issuer": issuer.url,
        "audience": AUDIENCE,
        "tenant_claim": "org",
        "tenants": {"default": "default", "Other Ltd": "other"},
        "grants": {"kdguard:read": ["read"], "auditors": ["read", "audit"]},
    }
    with running(tmp_path_factory.mktemp("oidc") / "data", oidc=oidc) as made:
        made.key(tenant="other")
        yield made


def asked(service: Running, token: str, path: str = "/v1/accounts") -> httpx.Response:
    """What a token gets."""
    return httpx.get(service.url + path, headers={"authorization": f"Bearer {token}"})


@pytest.mark.parametrize("key", ["one", "RS256", "EdDSA"])
def test_a_good_token_opens_what_it_grants(guarded: Running, issuer: Issuer, key: str) -> None:
    token = issuer.token(key)
    assert asked(guarded, token).status_code == 200
    assert asked(guarded, token, "/v1/audit").status_code == 403
    assert asked(guarded, issuer.token(key, scope=["auditors"]), "/v1/audit").status_code == 200
    assert asked(guarded, issuer.token(key, scope="admin audit openid"), "/v1/audit").status_code == 403


def test_claims_name_the_tenant_and_the_actor(guarded: Running, issuer: Issuer) -> None:
    assert guarded.client.get("/v1/accounts").status_code == 200  # keys go on working
    other = issuer.token(org="Other Ltd", scope="kdguard:read", sub="bob@example")
    asked(guarded, other, "/v1/lineage")
    body = {
        "responses": [{"model": "a", "prompt_id": "1", "response": "x"}],
        "families": "",
        "suspects": ["a"],
    }
    headers = {"authorization": f"Bearer {other}"}
    assert httpx.post(f"{guarded.url}/v1/lineage", json=body, headers=headers).status_code == 202
    auditor = issuer.token(org="Other Ltd", scope=["auditors"])
    (entry,) = asked(guarded, auditor, "/v1/audit").json()["items"]
    assert (entry["actor"], entry["action"]) == ("oidc:bob@example", "lineage.ask")


def part(value: object) -> bytes:
    return base64.urlsafe_b64encode(value if isinstance(value, bytes) else orjson.dumps(value)).rstrip(b"=")


def unsigned(issuer: Issuer, algorithm: str) -> str:
    return (part({"alg": algorithm, "kid": "one"}) + b"." + part(issuer.claims()) + b".").decode()


def signed_with_the_public_key(issuer: Issuer) -> str:
    """The classic: the verifier's public key taken for a secret."""
    told = part({"alg": "HS256", "kid": "RS256"}) + b"." + part(issuer.claims())
    return (told + b"." + part(hmac.digest(issuer.public("RS256"), told, hashlib.sha256))).decode()


def resigned(issuer: Issuer) -> str:
    """Claims of one token under the signature of another."""
    good = issuer.token().split(".")
    return ".".join([good[0], part(issuer.claims(scope="auditors")).decode(), good[2]])


def of_a_stranger(issuer: Issuer) -> str:
    """Signed by another's key under the name of ours."""
    with issuing() as other:
        return other.token(iss=issuer.url)


NOW = int(time.time())
FORGED: dict[str, Callable[[Issuer], str]] = {
    "expired": lambda issuer: issuer.token(exp=NOW - 60),
    "not yet valid": lambda issuer: issuer.token(nbf=NOW + 3_600),
    "issued in the future": lambda issuer: issuer.token(iat=NOW + 3_600),
    "no end": lambda issuer: issuer.token(exp=None),
    "no audience": lambda issuer: issuer.token(aud=None),
    "another audience": lambda issuer: issuer.token(aud="another"),
    "another issuer": lambda issuer: issuer.token(iss=issuer.url + "/"),
    "no subject": lambda issuer: issuer.token(sub=None),
    "an odd subject": lambda issuer: issuer.token(sub="a\nb"),
    "another tenant": lambda issuer: issuer.token(org="other"),
    "no tenant": lambda issuer: issuer.token(org=None),
    "a list of tenants": lambda issuer: issuer.token(org=["default"]),
    "alg none": lambda issuer: unsigned(issuer, "none"),
    "alg None": lambda issuer: unsigned(issuer, "None"),
    "no signature": lambda issuer: unsigned(issuer, "ES256"),
    "HS256 with the public key": signed_with_the_public_key,
    "other claims": resigned,
    "a stranger's key": of_a_stranger,
    "unknown key": lambda issuer: issuer.token(header={"kid": "two"}),
    "no name of a key": lambda issuer: issuer.token(header={"kid": None}),
    "the name of another key": lambda issuer: issuer.token("RS256", header={"kid": "one"}),
    "a key of its own": lambda issuer: issuer.token(header={"jku": "http://127.0.0.1:1/", "kid": "two"}),
    "critical header": lambda issuer: issuer.token(header={"crit": ["x"], "x": 1}),
    "no token": lambda issuer: "a.b.c",
    "an endless time": lambda issuer: issuer.token(exp=float("inf")),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_tokens_are_refused_and_logged_without_the_token(
    guarded: Running, issuer: Issuer, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    token = FORGED[name](issuer)
    with caplog.at_level(logging.WARNING, "kdguard.service"):
        response = asked(guarded, token)
    assert response.status_code == 401
    assert response.json()["type"] == "urn:kdguard:problem:token"
    assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'
    logged = [record for record in caplog.records if record.msg == "token refused"]
    assert len(logged) == 1
    for piece in token.split("."):
        assert len(piece) < 4 or piece not in response.text + str(logged[0].__dict__)


def test_without_an_issuer_a_token_is_no_key(service: Running, issuer: Issuer) -> None:
    response = asked(service, issuer.token())
    assert (response.status_code, response.json()["type"]) == (401, "urn:kdguard:problem:key")


def test_a_token_ends_while_it_is_remembered(
    guarded: Running, issuer: Issuer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kdguard.service.api.access.REMEMBER_S", 60.0)
    token = issuer.token(exp=int(time.time()) - 25)  # within the leeway for another five seconds
    assert asked(guarded, token).status_code == 200
    until(lambda: asked(guarded, token).status_code == 401, wait_s=15)


def test_keys_rotate(issuer: Issuer) -> None:
    now = [0.0]
    with issuing() as fresh:
        keys = KeySet(Oidc(issuer=fresh.url, audience=AUDIENCE), clock=lambda: now[0])
        assert keys.find("one") is not None
        assert keys.find("one") is not None
        assert fresh.asked == 1
        fresh.add("two")
        assert keys.find("two") is None  # asked a moment ago
        now[0] += key_set.AGAIN_S
        assert keys.find("two") is not None
        assert fresh.asked == 2
        for name in ("three", "four", "five"):  # strangers' names make us ask no more often
            assert keys.find(name) is None
        assert fresh.asked == 2
        del fresh.keys["one"]
        now[0] += key_set.REFRESH_S + 1
        assert keys.find("one") is None
        fresh.down = True
        now[0] += key_set.REFRESH_S + 1
        assert keys.find("two") is not None  # the issuer fails: what it said is believed for a while
        now[0] += key_set.LONGEST_S
        with pytest.raises(Problem) as told:
            keys.find("two")
    assert told.value.status == 503


def test_a_discovery_document_of_another_issuer_gives_no_key() -> None:
    with issuing() as made:
        keys = KeySet(Oidc(issuer=made.url + "/", audience=AUDIENCE), clock=lambda: 0.0)
        with pytest.raises(Problem):
            keys.find("one")
    assert made.asked == 0


@pytest.mark.parametrize(
    "oidc",
    [
        {"issuer": "http://issuer.example.com", "audience": "a"},
        {"issuer": "https://issuer.example.com", "audience": ""},
        {"issuer": "https://issuer.example.com", "audience": "a", "algorithms": ["HS256"]},
        {"issuer": "https://issuer.example.com", "audience": "a", "algorithms": ["none"]},
        {"issuer": "https://issuer.example.com", "audience": "a", "grants": {"x": ["everything"]}},
        {"issuer": "https://issuer.example.com", "audience": "a", "keys_url": "ftp://x"},
    ],
)
def test_settings_that_would_be_unsafe(oidc: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Settings.model_validate({"oidc": oidc})


def test_settings_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KDGUARD_SERVICE_OIDC__ISSUER", "https://issuer.example.com")
    monkeypatch.setenv("KDGUARD_SERVICE_OIDC__AUDIENCE", "kdguard")
    monkeypatch.setenv("KDGUARD_SERVICE_OIDC__GRANTS", '{"auditors": ["audit"]}')
    oidc = Settings().oidc
    assert oidc is not None
    assert (oidc.issuer, oidc.grants) == ("https://issuer.example.com", {"auditors": ("audit",)})
