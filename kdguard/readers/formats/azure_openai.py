"""Azure OpenAI diagnostics, category RequestResponse: NDJSON in a storage account, or AzureDiagnostics rows.

Bodies are often encoded twice and often missing; both are recorded, not guessed. The last octet of the
caller's address is masked by the platform and stays so.

Account: ``properties.callerObjectId``, else the masked address is not taken for one and the row is
unattributed. Organisation: ``resourceId``. Session: none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kdguard.readers.dialects.content import at, first, unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JsonReader, Record, Row, pick

_PATHS: dict[str, tuple[str, ...]] = {
    "request_id": ("correlationId", "CorrelationId", "correlationId_s"),
    "time": ("time", "TimeGenerated"),
    "account_id": ("properties.callerObjectId", "properties.objectId"),
    "org_id": ("resourceId", "ResourceId", "_ResourceId"),
    "client_ip": ("callerIpAddress", "CallerIPAddress"),
    "user_agent": ("properties.userAgent",),
    "model": ("properties.modelName", "properties.modelDeploymentName"),
    "endpoint": ("operationName", "OperationName"),
    "status": ("resultSignature", "ResultSignature", "resultSignature_d"),
    "latency_ms": ("durationMs", "DurationMs"),
    "finish_reason": ("properties.finishReason",),
}


def _match(record: Record) -> bool:
    category = first(record, "category", "Category")
    provider = str(first(record, "resourceId", "ResourceId", "_ResourceId") or "").upper()
    body = first(record, "properties", "properties_s") is not None
    return category == "RequestResponse" or (body and "MICROSOFT.COGNITIVESERVICES" in provider)


def _records(document: Record) -> Iterable[Record]:
    inside = document.get("records")  # event hubs wrap them
    return [entry for entry in inside if isinstance(entry, dict)] if isinstance(inside, list) else (document,)


def _exchanges(record: Record) -> Iterator[Row]:
    if first(record, "category", "Category") not in (None, "RequestResponse"):
        return iter(())
    properties = unwrapped(first(record, "properties", "properties_s"))
    record = record | {"properties": properties}
    row = pick(record, _PATHS)
    if not str(row.get("status", "")).isdigit():
        row.pop("status", None)
    return exchanges(at(record, "properties.requestBody"), at(record, "properties.responseBody"), row)


READER = JsonReader(
    name="azure-openai",
    about="Azure OpenAI diagnostics (RequestResponse)",
    match=lambda record: any(map(_match, _records(record))),
    exchanges=_exchanges,
    explode=_records,
)
