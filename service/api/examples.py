"""Bodies that are no JSON documents as OpenAPI describes them: text with an example, files with how to make one."""

from __future__ import annotations

from typing import Any

import orjson

EXCHANGE: dict[str, Any] = {
    "request_id": "req-1",
    "time": "2026-11-28T09:30:00Z",
    "account_id": "acct-42",
    "model": "m-large",
    "prompt": "Translate this into French: the meeting is at noon.",
    "response": "La réunion est à midi.",
    "input_tokens": 14,
    "output_tokens": 9,
    "status": 200,
    "logprobs": False,
}
ACCOUNT: dict[str, Any] = {
    "account_id": "acct-42",
    "org_id": "org-7",
    "created_at": "2026-01-15T00:00:00Z",
    "plan": "pro",
    "verified": True,
    "declared_workload": "chat",
}
SPAN: dict[str, Any] = {
    "traceId": "5b8efff798038103d269b633813fc60c",
    "spanId": "eee19b7ec3c1b174",
    "name": "chat m-large",
    "startTimeUnixNano": "1795858200000000000",
    "endTimeUnixNano": "1795858201000000000",
    "attributes": [
        {"key": "gen_ai.operation.name", "value": {"stringValue": "chat"}},
        {"key": "gen_ai.request.model", "value": {"stringValue": "m-large"}},
        {"key": "user.id", "value": {"stringValue": "acct-42"}},
    ],
}
GUARDRAIL: dict[str, Any] = {
    "texts": ["Grade this answer ..."],
    "request_data": {"user_api_key_user_id": "acct-42", "user_api_key_hash": "9f86d081884c7d65"},
    "input_type": "request",
    "litellm_call_id": "call-1",
    "model": "m-large",
}
LINEAGE: dict[str, Any] = {
    "responses": [
        {"model": "teacher-a", "prompt_id": "p1", "response": "Bread rises because yeast makes gas."},
        {"model": "student-7", "prompt_id": "p1", "response": "It rises because yeast makes gas."},
        {"model": "other-1", "prompt_id": "p1", "response": "Gas from the yeast lifts it."},
    ],
    "families": '[a]\nmembers = ["teacher-a"]\nvendor = "north"\n',
    "suspects": ["student-7"],
    "controls": [{"teacher_family": "a", "control": "other-1", "kind": "student_pool"}],
    "named": ["a"],
}
LIVE: dict[str, Any] = {name: LINEAGE[name] for name in ("families", "controls", "named")} | {
    "endpoint": "rival",
    "responses": [row for row in LINEAGE["responses"] if row["model"] != "student-7"],
    "probes": [{"prompt_id": "p1", "prompt": "Why does bread rise?"}],
    "manner": {"max_tokens": 256},
}
SERVED: dict[str, Any] = {
    "suspect": "student-7",
    "clean": ["other-1"],
    "likelihoods": [
        {"model": "student-7", "request_id": "req-1", "logprob": -21.5},
        {"model": "other-1", "request_id": "req-1", "logprob": -24.25},
    ],
}


def text(example: str, description: str) -> dict[str, Any]:
    """A body of text."""
    return {"schema": {"type": "string", "description": description}, "example": example}


def file(description: str) -> dict[str, Any]:
    """A body that no description can show."""
    return {"schema": {"type": "string", "format": "binary", "description": description}}


def lines(*rows: dict[str, Any]) -> str:
    """JSON lines."""
    return "".join(orjson.dumps(row).decode() + "\n" for row in rows)


def body(content: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a route takes, by media type."""
    return {"requestBody": {"content": content, "required": True}}


EXCHANGES_NDJSON = text(lines(EXCHANGE), "One exchange a line, in the format that `format` names.")
EXCHANGES_ARROW = file("An Arrow IPC stream whose columns are named like the fields of flat JSON lines.")
TRACES_JSON: dict[str, Any] = {
    "schema": {"type": "object"},
    "example": {"resourceSpans": [{"scopeSpans": [{"spans": [SPAN]}]}]},
}
TRACES_PROTOBUF = file("An OTLP `ExportTraceServiceRequest`, as the exporters of OpenTelemetry send it.")
ACCOUNTS_CSV = text(
    "account_id,org_id,created_at,plan,verified,declared_workload\nacct-42,org-7,2026-01-15T00:00:00Z,pro,true,chat\n",
    "A table with a header.",
)
ACCOUNTS_NDJSON = text(lines(ACCOUNT), "One account a line.")
ACCOUNTS_ARROW = file("An Arrow IPC stream with the same columns.")
BASELINE_FILE = file("What `kdguard baseline --out` wrote.")
TOKENIZER_FILE = file("The `tokenizer.json` of the model.")
CANARIES_FILE = file("What `kdguard canary plan --out` wrote.")
TWINS_FILE = file("What `kdguard twins plan --out` wrote.")
