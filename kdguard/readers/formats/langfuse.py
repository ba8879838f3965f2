"""Langfuse observations: blob exports (snake_case) and the API (camelCase). Only generations are exchanges.

Enriched observations name their user. Those of the legacy export and of the older API do not: there the user and
the session stand in the trace, which is another file (``traces/``), or holds its observations itself. Give both
files; their order does not matter. Scores beside them are passed over.

Account: ``user_id``, of the observation or of its trace; without the trace rows are unattributed.
Organisation: ``project_id``. Session: ``session_id``, else the trace.
"""

from __future__ import annotations

from collections.abc import Iterator

from kdguard.readers.cells import moment
from kdguard.readers.dialects.content import first, turns, unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JoinReader, JsonReader, Record, Row, pick
from kdguard.readers.rejects import Unfit

_KINDS = frozenset(
    [
        "GENERATION",
        "SPAN",
        "EVENT",
        "AGENT",
        "TOOL",
        "CHAIN",
        "RETRIEVER",
        "EVALUATOR",
        "EMBEDDING",
        "GUARDRAIL",
    ]
)
_PATHS: dict[str, tuple[str, ...]] = {
    "request_id": ("id",),
    "time": ("start_time", "startTime"),
    "account_id": ("user_id", "userId"),
    "org_id": ("project_id", "projectId"),
    "session_id": ("session_id", "sessionId", "trace_id", "traceId"),
    "model": ("provided_model_name", "providedModelName", "model"),
    "endpoint": ("name",),
    "input_tokens": ("usage_details.input", "usageDetails.input", "usage.input", "promptTokens"),
    "output_tokens": ("usage_details.output", "usageDetails.output", "usage.output", "completionTokens"),
}

_OF_TRACES = ("public", "bookmarked", "htmlPath", "html_path", "tags", "release")
_FROM_TRACE = {
    "user_id": ("user_id", "userId"),
    "session_id": ("session_id", "sessionId"),
    "project_id": ("project_id", "projectId"),
}


def _match(record: Record) -> bool:
    traced = "trace_id" in record or "traceId" in record
    return traced and record.get("type") in _KINDS and ("start_time" in record or "startTime" in record)


def _is_enriched(record: Record) -> bool:
    return _match(record) and ("user_id" in record or "userId" in record)


def _is_trace(record: Record) -> bool:
    named = "id" in record and "timestamp" in record and ("user_id" in record or "userId" in record)
    return named and any(key in record for key in _OF_TRACES) and "model" not in record


def _is_score(record: Record) -> bool:
    traced = "trace_id" in record or "traceId" in record
    return traced and "value" in record and ("data_type" in record or "dataType" in record)


def _is_legacy(record: Record) -> bool:
    return _match(record) or _is_trace(record) or _is_score(record)


def _records(document: Record) -> Iterator[Record]:
    inside = document.get("data")  # a page of the API
    for record in inside if isinstance(inside, list) else [document]:
        if isinstance(record, dict):
            yield record
            held = record.get("observations")
            if isinstance(held, list):
                yield from (entry for entry in held if isinstance(entry, dict))


def _trace_of(record: Record) -> str | None:
    """What an observation and its trace have in common."""
    if _is_trace(record):
        return str(record["id"])
    found = first(record, "trace_id", "traceId", "id")
    return str(found) if _match(record) and found is not None else None


def _with_trace(parts: list[Record]) -> Iterator[Record]:
    """Hand what a trace knows down to its observations."""
    traces = [part for part in parts if _is_trace(part)]
    known = pick(traces[0], _FROM_TRACE) if traces else {}
    for part in parts:
        if not _is_trace(part):
            yield known | {name: value for name, value in part.items() if value is not None}


def _exchanges(record: Record) -> Iterator[Row]:
    if record.get("type") != "GENERATION":
        return
    nested = ("usage_details", "usageDetails", "usage")
    row = pick(record | {name: unwrapped(record.get(name)) for name in nested}, _PATHS)
    try:
        ends = [record.get(snake, record.get(camel)) for snake, camel in _ENDS]
        row["latency_ms"] = max(0.0, (moment("end", ends[1]) - moment("start", ends[0])) / 1000)
    except Unfit:
        pass
    parameters = unwrapped(record.get("model_parameters", record.get("modelParameters")))
    asked = turns(record.get("input"))
    request = dict(parameters) if isinstance(parameters, dict) else {}
    bare = {"prompt": asked} if isinstance(asked, str) else {"messages": asked}
    request |= asked if isinstance(asked, dict) and "role" not in asked else bare
    yield from exchanges(request, record.get("output"), row)


_ENDS = (("start_time", "startTime"), ("end_time", "endTime"))

READER = JsonReader(
    name="langfuse",
    about="Langfuse observations that name their user, blob export or API",
    match=lambda record: any(map(_is_enriched, _records(record))),
    exchanges=_exchanges,
    explode=_records,
)
LEGACY = JoinReader(
    name="langfuse-legacy",
    about="Langfuse observations and traces, joined by trace id",
    match=lambda record: any(map(_is_legacy, _records(record))),
    exchanges=_exchanges,
    explode=_records,
    shared_key=_trace_of,
    combine=_with_trace,
)
