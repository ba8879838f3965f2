"""Every body of the OpenAPI description has an example that the service takes, or says how its file is made."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from tests.scoring_service.running import Running

PLACES = {
    "kind": "model_release",
    "name": "example",
    "key_id": "0" * 16,
    "job": "0" * 32,
    "account_id": "nobody",
}


def bodies(told: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Method, path, media type and description of each."""
    for path, methods in told["paths"].items():
        for method, operation in methods.items():
            for kind, media in operation.get("requestBody", {}).get("content", {}).items():
                yield method, path, kind, media


def resolved(told: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = told["components"]["schemas"][schema["$ref"].split("/")[-1]]
    return schema


def examples(told: dict[str, Any], media: dict[str, Any]) -> list[Any]:
    """As the description gives them, or put together of those of the parts."""
    if "example" in media:
        return [media["example"]]
    if "examples" in media:
        return [one["value"] for one in media["examples"].values()]
    schema = resolved(told, media["schema"])
    if "examples" in schema:
        return list(schema["examples"])
    parts = {name: resolved(told, part) for name, part in schema.get("properties", {}).items()}
    needed = {name: parts[name].get("examples") for name in schema.get("required", parts)}
    whole = needed and all(needed.values())
    return [{name: given[0] for name, given in needed.items() if given}] if whole else []


def test_every_body_has_an_example_that_is_taken(service: Running) -> None:
    told = httpx.get(f"{service.url}/openapi.json").json()
    tried = 0
    for method, path, kind, media in bodies(told):
        place = f"{method} {path} {kind}"
        if media.get("schema", {}).get("format") == "binary":
            assert len(media["schema"]["description"]) > 20, place
            continue
        given = examples(told, media)
        assert given, place
        for name, value in PLACES.items():
            path = path.replace(f"{{{name}}}", value)
        for one in given:
            content = one if isinstance(one, str) else json.dumps(one)
            response = service.client.request(method, path, content=content, headers={"content-type": kind})
            tried += 1
            assert response.status_code < 300 or response.status_code in (404, 409), (place, response.text)
    assert tried > 15
