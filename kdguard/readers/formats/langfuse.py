"""Langfuse observations: blob exports (snake_case) and the API (camelCase). Only generations are exchanges.

Account: ``user_id``; observations of the legacy export do not have it, and are then unattributed.
Organisation: ``project_id``. Session: ``session_id``, else the trace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kdguard.readers.cells import moment
from kdguard.readers.dialects.content import turns, unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JsonReader, Record, Row, pick
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


def _match(record: Record) -> bool:
    traced = "trace_id" in record or "traceId" in record
    return traced and record.get("type") in _KINDS and ("start_time" in record or "startTime" in record)


def _records(document: Record) -> Iterable[Record]:
    inside = document.get("data")  # a page of the API
    return [entry for entry in inside if isinstance(entry, dict)] if isinstance(inside, list) else (document,)


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
    about="Langfuse observations, blob export or API",
    match=lambda record: any(map(_match, _records(record))),
    exchanges=_exchanges,
    explode=_records,
)
