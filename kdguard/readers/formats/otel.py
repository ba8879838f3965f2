"""OpenTelemetry GenAI spans and log events as OTLP JSON, current and older attribute names.

Current: ``gen_ai.input.messages`` and kin, structured or as JSON text. Older: ``gen_ai.system``,
``gen_ai.usage.prompt_tokens``, span events ``gen_ai.user.message`` and ``gen_ai.choice``, and the indexed
``gen_ai.prompt.0.content`` of early instrumentations. Whole numbers may be text. Spans of other kinds are
passed over.

Account: ``user.id``, else ``enduser.id``, ``user.hash``, ``metadata.user_api_key_user_id``, ``user.email``,
else the key hash. Organisation: ``organization.id``, ``tenant.id``. Session: ``gen_ai.conversation.id``,
``session.id``, else the trace. Resource attributes serve where the span has none. There is no attribute for
log-probabilities.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kdguard.readers.dialects.content import turns, unwrapped
from kdguard.readers.formats.envelope import exchanges, spent_ms
from kdguard.readers.reader import JsonReader, Record, Row

_NAMES: dict[str, tuple[str, ...]] = {
    "request_id": ("gen_ai.response.id",),
    "account_id": (
        "user.id",
        "enduser.id",
        "user.hash",
        "metadata.user_api_key_user_id",
        "user.email",
        "metadata.user_api_key_hash",
    ),
    "org_id": ("organization.id", "tenant.id", "metadata.user_api_key_org_id"),
    "key_hash": ("metadata.user_api_key_hash",),
    "session_id": ("gen_ai.conversation.id", "session.id"),
    "client_ip": ("client.address", "net.peer.ip", "http.client_ip"),
    "user_agent": ("user_agent.original", "http.user_agent"),
    "tls_fingerprint": ("tls.client.ja4", "tls.client.ja3"),
    "model": ("gen_ai.request.model", "gen_ai.response.model", "llm.request.model"),
    "endpoint": ("gen_ai.operation.name", "llm.request.type"),
    "temperature": ("gen_ai.request.temperature",),
    "top_p": ("gen_ai.request.top_p",),
    "n": ("gen_ai.request.choice.count",),
    "seed": ("gen_ai.request.seed", "gen_ai.openai.request.seed"),
    "max_tokens": ("gen_ai.request.max_tokens",),
    "input_tokens": ("gen_ai.usage.input_tokens", "gen_ai.usage.prompt_tokens"),
    "output_tokens": ("gen_ai.usage.output_tokens", "gen_ai.usage.completion_tokens"),
    "status": ("http.response.status_code", "http.status_code"),
    "tools": ("gen_ai.tool.definitions",),
}
_COLUMNS: dict[str, list[tuple[str, int]]] = {
    name: [(column, names.index(name)) for column, names in _NAMES.items() if name in names]
    for names in _NAMES.values()
    for name in names
}
"""By attribute, the columns it can fill and its rank among the names of each."""
_INPUT = ("gen_ai.input.messages", "gen_ai.prompt")
_OUTPUT = ("gen_ai.output.messages", "gen_ai.completion")
_SYSTEM = ("gen_ai.system_instructions", "gen_ai.system.message")
_OTHER = frozenset(
    {"execute_tool", "invoke_agent", "create_agent", "embeddings", "retrieval", "invoke_workflow"}
)
_SPANS = ("resourceSpans", "scopeSpans", "spans")
_LOGS = ("resourceLogs", "scopeLogs", "logRecords")


def _match(record: Record) -> bool:
    return any(isinstance(record.get(trio[0]), list) for trio in (_SPANS, _LOGS))


def _records(document: Record) -> Iterator[Record]:
    for outer, middle, inner in (_SPANS, _LOGS):
        for resource in document.get(outer) or ():
            shared = (resource.get("resource") or {}).get("attributes")
            scopes = resource.get(middle) or resource.get("instrumentationLibrarySpans") or ()
            for scope in scopes:
                for entry in scope.get(inner) or ():
                    yield {"resource": shared, "entry": entry}


def _decoded(value: Any, depth: int = 32) -> Any:
    """An OTLP AnyValue as a plain value; plain values stay."""
    if not isinstance(value, dict) or depth == 0:
        return value
    if len(value) == 1 and "stringValue" in value:  # nearly always
        return value["stringValue"]
    if "arrayValue" in value:
        return [_decoded(v, depth - 1) for v in (value["arrayValue"] or {}).get("values") or ()]
    if "kvlistValue" in value:
        return _attributes((value["kvlistValue"] or {}).get("values"), depth - 1)
    return next((v for key, v in value.items() if key.endswith("Value")), None)


def _attributes(pairs: Any, depth: int = 32) -> dict[str, Any]:
    if isinstance(pairs, dict):
        return pairs
    return {pair["key"]: _decoded(pair.get("value"), depth) for pair in pairs or ()}


def _exchanges(record: Record) -> Iterator[Row]:
    entry = record["entry"]
    own = _attributes(entry.get("attributes"))
    body = entry.get("body")
    said = _decoded(body) if isinstance(body, dict) else None
    own |= said if isinstance(said, dict) and any(key.startswith("gen_ai.") for key in said) else {}
    if not any(key.startswith(("gen_ai.", "llm.request.")) for key in own):
        return iter(())
    if own.get("gen_ai.operation.name") in _OTHER:
        return iter(())
    found = _attributes(record["resource"]) | own
    row = _named(found)
    start, end = entry.get("startTimeUnixNano") or entry.get("timeUnixNano"), entry.get("endTimeUnixNano")
    trace, span = entry.get("traceId"), entry.get("spanId")
    row |= {"time": start, "latency_ms": spent_ms(start, end)}
    row["request_id"] = row.get("request_id") or (f"{trace}-{span}" if span else None)
    row["session_id"] = row.get("session_id") or trace
    reasons = unwrapped(found.get("gen_ai.response.finish_reasons"))
    asked, choices = _content(found, entry.get("events") or ())
    if isinstance(reasons, list):
        choices = choices or [{} for _ in reasons]
        for choice, reason in zip(choices, reasons, strict=False):
            choice.setdefault("finish_reason", reason)
    system = next((unwrapped(found[name]) for name in _SYSTEM if found.get(name)), None)
    key = "prompt" if isinstance(asked, str) else "messages"
    request = {key: asked, "system": system}
    return exchanges(request, {"choices": choices} if choices else None, row)


def _named(found: dict[str, Any]) -> Row:
    """Columns that attributes name; of several names of a column the first that says something wins."""
    row: Row = {}
    ranks: dict[str, int] = {}
    for name in _COLUMNS.keys() & found.keys():
        value = found[name]
        if value is None or value == "":
            continue
        for column, rank in _COLUMNS[name]:
            if rank < ranks.get(column, len(_COLUMNS)):
                row[column], ranks[column] = value, rank
    return row


def _content(found: dict[str, Any], events: Any) -> tuple[Any, list[Record]]:
    """Messages and choices from attributes, else from indexed attributes, else from span events."""
    asked = next((turns(found[name]) for name in _INPUT if found.get(name)), None)
    output = next((turns(found[name]) for name in _OUTPUT if found.get(name)), None)
    asked = asked or list(_indexed(found, "gen_ai.prompt."))
    output = output or list(_indexed(found, "gen_ai.completion."))
    if isinstance(output, dict | str):
        output = [output]
    choices = [_choice(entry) for entry in output or ()]
    for event in events:
        name, inside = str(event.get("name")), _attributes(event.get("attributes"))
        if name == "gen_ai.choice":
            choices.append(_choice(inside))
        elif name in ("gen_ai.content.prompt", "gen_ai.content.completion"):
            if name.endswith("prompt"):
                asked = asked or turns(inside.get("gen_ai.prompt"))
            else:
                later = turns(inside.get("gen_ai.completion"))
                choices += [_choice(c) for c in (later if isinstance(later, list) else [later]) if c]
        elif name == "gen_ai.client.inference.operation.details":
            more_asked, more_choices = _content(inside, ())
            asked, choices = asked or more_asked, choices or more_choices
        elif name.startswith("gen_ai.") and name.endswith(".message") and isinstance(asked, list):
            asked.append({"role": name.split(".")[1], "content": turns(inside.get("content"))})
    return asked, choices


def _indexed(found: dict[str, Any], stem: str) -> Iterator[Record]:
    for index in range(10_000):
        keys = [key for key in ("role", "content", "finish_reason") if f"{stem}{index}.{key}" in found]
        if not keys:
            return
        yield {key: found[f"{stem}{index}.{key}"] for key in keys}


def _choice(said: Any) -> Record:
    if isinstance(said, str):
        return {"message": {"content": said}}
    message = turns(said.get("message")) or said
    if not isinstance(message, dict):
        message = {"content": message}
    return {key: said[key] for key in ("index", "finish_reason") if key in said} | {"message": message}


READER = JsonReader(
    name="otel",
    about="OpenTelemetry GenAI spans and events, OTLP JSON",
    match=_match,
    exchanges=_exchanges,
    explode=_records,
)
