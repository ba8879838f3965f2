"""OTLP traces, JSON or protobuf, as the document that the reader of OpenTelemetry takes.

Protobuf goes straight to plain values: `json_format` would write JSON first, at four times the price.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from kdguard.readers.rejects import Unfit


def from_protobuf(body: bytes) -> dict[str, Any]:
    """An export request with ids in hexadecimal and attributes as plain values.

    Raises:
        Unfit: It is none.
    """
    try:
        export = ExportTraceServiceRequest.FromString(body)
    except (DecodeError, ValueError) as error:
        raise Unfit("a body must be an OTLP ExportTraceServiceRequest", type(error).__name__) from error
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": _plain(resource.resource.attributes)},
                "scopeSpans": [{"spans": list(map(_span, scope.spans))} for scope in resource.scope_spans],
            }
            for resource in export.resource_spans
        ]
    }


def _span(span: Span) -> dict[str, Any]:
    return {
        "traceId": span.trace_id.hex(),
        "spanId": span.span_id.hex(),
        "parentSpanId": span.parent_span_id.hex(),
        "name": span.name,
        "startTimeUnixNano": span.start_time_unix_nano,
        "endTimeUnixNano": span.end_time_unix_nano,
        "attributes": _plain(span.attributes),
        "events": [{"name": event.name, "attributes": _plain(event.attributes)} for event in span.events],
    }


def _plain(pairs: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    """A value; bytes as base64, as JSON has them."""
    match value.WhichOneof("value"):
        case "array_value":
            return list(map(_value, value.array_value.values))
        case "kvlist_value":
            return _plain(value.kvlist_value.values)
        case "bytes_value":
            return base64.b64encode(value.bytes_value).decode()
        case None:
            return None
        case name:
            return getattr(value, name)
