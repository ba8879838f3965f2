"""Google Vertex AI request-response logging, rows of the BigQuery table as JSON or Parquet.

``full_request`` and ``full_response`` may be objects or JSON text; older tables have the arrays of text
``request_payload`` and ``response_payload``. The logging is sampled: ``metadata.sampling_rate`` is carried
along where an export has it.

Account: none in this log; the caller stands in Cloud Audit Logs, so use ``--account`` (for instance
``--account full_request.labels.customer``). Organisation: the project in ``endpoint``. Session: the trace id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from kdguard.readers.dialects.content import unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JsonReader, Record, Row, pick

_PROJECT = re.compile(r"projects/([^/]+)/")
_PATHS: dict[str, tuple[str, ...]] = {
    "request_id": ("request_id",),
    "time": ("logging_time",),
    "session_id": ("otel_log.trace_id",),
    "model": ("model", "deployed_model_id"),
    "endpoint": ("api_method",),
    "sampling_rate": ("metadata.sampling_rate", "sampling_rate"),
}


def _match(record: Record) -> bool:
    return "logging_time" in record and ("full_request" in record or "request_payload" in record)


def _body(record: Record, name: str, older: str) -> object:
    body = unwrapped(record.get(name))
    if body:
        return body
    chunks = unwrapped(record.get(older))
    if not isinstance(chunks, list) or not chunks:
        return None
    decoded = [unwrapped(chunk) for chunk in chunks]
    if any(isinstance(chunk, str) for chunk in decoded):
        return unwrapped("".join(map(str, chunks)))
    return decoded[0] if len(decoded) == 1 else decoded


def _exchanges(record: Record) -> Iterator[Row]:
    opened = record | {name: unwrapped(record.get(name)) for name in ("metadata", "otel_log")}
    row = pick(opened, _PATHS)
    if project := _PROJECT.search(str(record.get("endpoint", ""))):
        row["org_id"] = project[1]
    request = _body(record, "full_request", "request_payload")
    if isinstance(request, list):
        request = request[0]
    return exchanges(request, _body(record, "full_response", "response_payload"), row)


READER = JsonReader(
    name="vertex", about="Google Vertex AI request-response logging", match=_match, exchanges=_exchanges
)
