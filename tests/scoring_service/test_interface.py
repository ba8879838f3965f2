"""The whole OpenAPI description against the service: no answer of 5xx, and every answer as described."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.scoring_service.running import Running

EXAMPLES = 8


@schemathesis.serializer(
    "application/x-ndjson", "application/vnd.apache.arrow.stream", "application/x-protobuf", "text/csv"
)
def as_it_is(context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "replace")


def operations(service: Running) -> list[Any]:
    described = httpx.get(f"{service.url}/openapi.json").json()
    schema = schemathesis.openapi.from_dict(described)
    schema.config.update(base_url=service.url)
    found: list[Any] = list(schema.get_all_operations())
    return [one.ok() for one in found]


def test_nothing_makes_it_fail(service: Running) -> None:
    key = service.key()
    seen: dict[str, int] = {}
    for operation in operations(service):
        strategy = operation.as_strategy() | operation.as_strategy(
            generation_mode=schemathesis.GenerationMode.NEGATIVE
        )

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.explicit, Phase.generate],
        )
        @given(case=strategy)
        def ask(case: Any) -> None:
            if "keys" in case.path and case.method in ("DELETE", "POST"):
                return  # ends the key that asks
            response = case.call(headers={"authorization": f"Bearer {key}"})
            label = f"{case.method} {case.path}"
            seen[label] = seen.get(label, 0) + 1
            assert response.status_code < 500, (label, response.status_code, response.text)

        ask()
    assert len(seen) > 25


@pytest.mark.parametrize(
    "path", ["/v1/accounts/%00", "/v1/accounts/%ff", "/v1/accounts/" + "a" * 1500, "/v1//", "/%2e%2e/x"]
)
def test_odd_paths(service: Running, path: str) -> None:
    assert 400 <= service.client.get(path).status_code < 500


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(max_size=40))
def test_any_account_id_can_be_asked_for(service: Running, text: str) -> None:
    path = quote(text.encode("utf-8", "replace"), safe="")
    assert service.client.get(f"/v1/accounts/{path}").status_code in (200, 404, 422)
