"""Azure API Management: ApiManagementGatewayLlmLog, joined with ApiManagementGatewayLogs by correlation id.

The gateway splits messages over 32 kB into rows: sequence number 0 has the token counts, the others have
the pieces, which are put in order and together again. A missing piece marks the exchange ``truncated``. The
caller stands only in the gateway log: give both files. Rows of a gateway log without a model call are
passed over.

Account: ``ApimSubscriptionId``, else ``UserId``, of the gateway log; without that log rows are unattributed.
Organisation: ``_ResourceId`` is the gateway, not the customer, so it is left out. Session: none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import orjson

from kdguard.readers.dialects.content import first, unwrapped
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JoinReader, Record, Row

_LLM = ("SequenceNumber", "RequestMessages", "ResponseMessages", "PromptTokens", "IsStreamCompletion")
_GATEWAY = ("ApimSubscriptionId", "BackendResponseCode", "GatewayId", "ResponseCode")
# Column -> field of either log; the first row that has it wins.
_FIELDS: dict[str, tuple[str, ...]] = {
    "time": ("TimeGenerated", "time", "timestamp"),
    "account_id": ("ApimSubscriptionId", "apimSubscriptionId", "UserId", "userId"),
    "client_ip": ("CallerIpAddress", "callerIpAddress"),
    "user_agent": ("UserAgent", "RequestHeaders.User-Agent"),
    "model": ("ModelName", "modelName", "DeploymentName", "deploymentName"),
    "endpoint": ("OperationName", "operationName", "OperationId", "Url"),
    "status": ("ResponseCode", "responseCode", "BackendResponseCode"),
    "latency_ms": ("TotalTime", "totalTime"),
    "input_tokens": ("PromptTokens", "promptTokens"),
    "output_tokens": ("CompletionTokens", "completionTokens"),
}


def _field(record: Record, *names: str) -> object:
    return first(record, *names, *(f"properties.{name}" for name in names))


def _is_llm(record: Record) -> bool:
    return any(_field(record, name, name[0].lower() + name[1:]) is not None for name in _LLM)


def _match(record: Record) -> bool:
    return _key(record) is not None and (
        _is_llm(record) or any(_field(record, name, name[0].lower() + name[1:]) for name in _GATEWAY)
    )


def _key(record: Record) -> str | None:
    key = _field(record, "CorrelationId", "correlationId")
    return key if isinstance(key, str) else None


def _records(document: Record) -> Iterable[Record]:
    inside = document.get("records")
    return [entry for entry in inside if isinstance(entry, dict)] if isinstance(inside, list) else (document,)


def _number(record: Record) -> int:
    number = _field(record, "SequenceNumber", "sequenceNumber")
    return int(number) if isinstance(number, int | str) and str(number).isdigit() else 0


def _combine(parts: list[Record]) -> Iterator[Record]:
    llm = sorted(filter(_is_llm, parts), key=_number)
    if not llm:
        return
    numbers = {_number(part) for part in llm}
    request, request_cut = _together(_pieces(llm, "RequestMessages"))
    response, response_cut = _together(_pieces(llm, "ResponseMessages"))
    row: Row = {"request_id": _key(llm[0])}
    row["truncated"] = request_cut or response_cut or max(numbers) - min(numbers) >= len(numbers)
    everywhere = [*llm, *(part for part in parts if not _is_llm(part))]
    for column, names in _FIELDS.items():
        row[column] = next((v for part in everywhere if (v := _field(part, *names)) is not None), None)
    yield {"row": row, "request": request, "response": response}


def _pieces(parts: list[Record], name: str) -> list[str]:
    found = (_field(part, name, name[0].lower() + name[1:]) for part in parts)
    return [p if isinstance(p, str) else orjson.dumps(p).decode() for p in found if p]


def _together(pieces: list[str]) -> tuple[object, bool]:
    """Pieces are cut anywhere, or each is JSON of its own; text that is neither was cut for good."""
    if not pieces:
        return None, False
    whole = unwrapped("".join(pieces))
    if not isinstance(whole, str):
        return whole, False
    each = [unwrapped(piece) for piece in pieces]
    if all(isinstance(piece, list) for piece in each):
        return [turn for piece in each for turn in piece], False
    return whole, whole.lstrip()[:1] in ("[", "{")


def _exchanges(record: Record) -> Iterator[Row]:
    request, response = record["request"], record["response"]
    if isinstance(request, str):
        request = {"prompt": request}
    if isinstance(response, list) and response and isinstance(response[-1], dict):
        said = [turn for turn in response if isinstance(turn, dict)]
        response = said[-1] if len(said) == 1 else {"choices": [{"message": turn} for turn in said]}
    return exchanges(request, response, record["row"])


READER = JoinReader(
    name="azure-apim",
    about="Azure API Management LLM and gateway logs, joined by correlation id",
    match=lambda record: any(map(_match, _records(record))),
    exchanges=_exchanges,
    explode=_records,
    shared_key=_key,
    combine=_combine,
)
