"""Who may: keys, scopes, tenants, limits; and what strangers get."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from kdguard.errors import ServiceError
from kdguard.service.api.running import first_key
from kdguard.service.api.settings import Settings, is_loopback
from kdguard.service.store.api_keys import now_us
from tests.scoring_service import logs
from tests.scoring_service.running import NDJSON, Running, running, scored

LOG = logs.rows(31, accounts=3, thieves=1, requests=12)


def test_every_route_but_health_needs_a_key(service: Running) -> None:
    described = httpx.get(f"{service.url}/openapi.json").json()
    open_routes = {"/livez", "/readyz", "/startupz"}
    for path, methods in described["paths"].items():
        for method in methods:
            place = path.replace("{account_id}", "a").replace("{kind}", "canary")
            response = httpx.request(method, service.url + place)
            assert (response.status_code == 200) == (path in open_routes), (method, path)
            if path not in open_routes:
                assert response.status_code == 401
                assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "forged",
    ["kdg_0123456789abcdef_" + "0" * 64, "kdg_xyz", "another", "a" * 5_000, "kdg_" + "é" * 8, "../../etc"],
)
def test_forged_keys(service: Running, forged: str) -> None:
    response = httpx.get(
        f"{service.url}/v1/accounts", headers={b"authorization": f"Bearer {forged}".encode()}
    )
    assert response.status_code == 401
    assert forged[:30] not in response.text


def test_a_key_with_another_secret_opens_nothing(service: Running) -> None:
    key = service.key("read")
    wrong = key[:-1] + ("0" if key[-1] != "0" else "1")
    assert service.as_(wrong).get("/v1/accounts").status_code == 401
    assert service.as_(key).get("/v1/accounts").status_code == 200


def test_scopes(service: Running) -> None:
    ingest, read = service.as_(service.key("ingest")), service.as_(service.key("read"))
    assert ingest.get("/v1/accounts").status_code == 403
    assert read.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON).status_code == 403
    assert read.get("/v1/audit").status_code == 403
    assert read.get("/v1/keys").status_code == 403
    assert read.delete("/v1/accounts/x").status_code == 403


def test_expired_and_ended_keys(service: Running) -> None:
    expired = service.key("read", expires_us=now_us() - 1)
    assert service.as_(expired).get("/v1/accounts").status_code == 401
    made = service.client.post("/v1/keys", json={"name": "short", "scopes": ["read"]}).json()
    assert service.as_(made["key"]).get("/v1/accounts").status_code == 200
    assert service.client.delete(f"/v1/keys/{made['id']}").status_code == 204
    assert service.as_(made["key"]).get("/v1/accounts").status_code == 401
    listed = service.client.get("/v1/keys").text
    assert made["key"].split("_")[2] not in listed


def test_rotation_leaves_the_old_key_for_a_while(service: Running) -> None:
    made = service.client.post("/v1/keys", json={"name": "gateway", "scopes": ["read"]}).json()
    new = service.client.post(f"/v1/keys/{made['id']}/rotate", json={"overlap_s": 600}).json()
    assert new["scopes"] == ["read"]
    for key in (made["key"], new["key"]):
        assert service.as_(key).get("/v1/accounts").status_code == 200


def test_a_key_has_its_limit(service: Running) -> None:
    limited = service.as_(service.key("read", requests_per_minute=3))
    statuses = [limited.get("/v1/accounts").status_code for _ in range(5)]
    assert statuses.count(200) == 3
    assert statuses[-1] == 429
    assert int(limited.get("/v1/accounts").headers["retry-after"]) >= 1


def test_tenants_do_not_see_each_other(tmp_path: Path) -> None:
    with running(tmp_path) as service:
        one, two = service.as_(service.key(tenant="one")), service.as_(service.key(tenant="two"))
        one.post("/v1/exchanges", content=logs.ndjson(LOG), headers=NDJSON)
        scored(one, len(LOG))
        account = one.get("/v1/accounts").json()["items"][0]["subject"]
        cursor = one.get("/v1/accounts", params={"limit": 1}).json()["next"]
        assert two.get("/v1/accounts").json()["items"] == []
        assert two.get(f"/v1/accounts/{account}").status_code == 404
        assert two.get(f"/v1/accounts/{account}/timeline").status_code == 404
        assert two.get("/v1/accounts", params={"cursor": cursor}).status_code == 422
        assert (
            two.post(f"/v1/accounts/{account}/dispositions", json={"disposition": "watch"}).status_code == 404
        )
        assert two.delete(f"/v1/accounts/{account}").status_code == 202  # nothing of its own: nothing happens
        assert one.get(f"/v1/accounts/{account}").status_code == 200
        key = one.get("/v1/keys").json()[0]["id"]
        assert two.delete(f"/v1/keys/{key}").status_code == 404
        assert {entry["tenant"] for entry in two.get("/v1/audit").json()["items"]} <= {"two"}


def test_headers_for_browsers(service: Running) -> None:
    response = service.client.get("/v1/accounts", headers={"origin": "https://elsewhere.example"})
    assert "default-src 'self'" in response.headers["content-security-policy"]
    assert response.headers["x-content-type-options"] == "nosniff"
    assert not [name for name in response.headers if name.startswith("access-control")]
    assert response.headers["cache-control"] == "no-store"


def test_request_ids_come_back(service: Running) -> None:
    assert (
        service.client.get("/livez", headers={"x-request-id": "mine-1"}).headers["x-request-id"] == "mine-1"
    )
    other = service.client.get("/livez", headers={"x-request-id": "a b<script>"}).headers["x-request-id"]
    assert other != "a b<script>"
    problem = service.client.get("/v1/accounts/nobody", headers={"x-request-id": "mine-2"}).json()
    assert problem["instance"] == "urn:kdguard:request:mine-2"


def test_a_public_address_needs_a_key_first(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="make a key first"):
        first_key(Settings(data=tmp_path, host="0.0.0.0"))
    assert first_key(Settings(data=tmp_path)) is not None
    assert first_key(Settings(data=tmp_path, host="0.0.0.0")) is None
    assert [is_loopback(host) for host in ("localhost", "::1", "127.9.9.9", "0.0.0.0", "example.org")] == [
        True,
        True,
        True,
        False,
        False,
    ]


def test_cursors_cannot_be_made_up(service: Running) -> None:
    for cursor in ("x", "AAAA", "é", "A" * 400):
        assert service.client.get("/v1/accounts", params={"cursor": cursor}).status_code == 422


@pytest.mark.parametrize("time", ["12345678901234567890123", '"\\ud800"'])
def test_a_registration_that_cannot_be_kept_is_refused(service: Running, time: str) -> None:
    path, kind = "/v1/registrations/model_release/m-2", {"content-type": "application/json"}
    refused = service.client.put(path, content=f'{{"time": {time}, "model": "m"}}', headers=kind)
    assert refused.status_code == 422, refused.text
