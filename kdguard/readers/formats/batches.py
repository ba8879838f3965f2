"""Batch files of OpenAI and of Anthropic: requests in one file, results in another, joined by ``custom_id``.

Give both files; their order does not matter. Requests without a result keep their prompt, results without a
request are ``content_missing``. Where several batches use the same ``custom_id``, the i-th request is
paired with the i-th result, in the order in which the files are given.

Account: only what the body says (``safety_identifier``, ``user``, ``metadata.user_id``); a batch file as a
whole belongs to one organisation and one key, so ``--account =NAME`` is usually right. Session: none.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest

from kdguard.readers.dialects.content import at, first
from kdguard.readers.formats.envelope import exchanges
from kdguard.readers.reader import JoinReader, Record, Row

_ANTHROPIC_STATUS = {"succeeded": 200, "errored": 500, "canceled": 499, "expired": 408}


def _is_result(record: Record) -> bool:
    return "response" in record or "result" in record or "error" in record


def _is_openai(record: Record) -> bool:
    if not isinstance(record.get("custom_id"), str | int):
        return False
    response = record.get("response")
    return isinstance(record.get("body"), dict) or "body" in (response if isinstance(response, dict) else ())


def _is_anthropic(record: Record) -> bool:
    named = isinstance(record.get("custom_id"), str | int)
    return named and (isinstance(record.get("params"), dict) or at(record, "result.type") is not None)


def _key(record: Record) -> str | None:
    custom_id = record.get("custom_id")
    return None if custom_id is None else str(custom_id)


def _pair(parts: list[Record]) -> Iterator[Record]:
    requests = [part for part in parts if not _is_result(part)]
    results = [part for part in parts if _is_result(part)]
    for request, result in zip_longest(requests, results, fillvalue=None):
        yield {"request": request or {}, "result": result or {}}


def _openai(record: Record) -> Iterator[Row]:
    request, result = record["request"], record["result"]
    response = at(result, "response.body")
    row: Row = {
        "request_id": first(result, "response.request_id", "id") or at(response, "id"),
        "endpoint": request.get("url"),
        "status": first(result, "response.status_code"),
    }
    error = result.get("error")
    failed = {"error": error} if isinstance(error, dict) else None
    return exchanges(request.get("body"), failed if response is None else response, row)


def _anthropic(record: Record) -> Iterator[Row]:
    request, result = record["request"], record["result"]
    outcome = at(result, "result.type")
    row: Row = {
        "endpoint": "messages",
        "status": _ANTHROPIC_STATUS.get(outcome) if isinstance(outcome, str) else None,
    }
    return exchanges(request.get("params"), at(result, "result.message"), row)


OPENAI = JoinReader(
    name="openai-batch",
    about="OpenAI batch input and output files, joined by custom_id",
    match=_is_openai,
    exchanges=_openai,
    shared_key=_key,
    combine=_pair,
)
ANTHROPIC = JoinReader(
    name="anthropic-batch",
    about="Anthropic batch requests and results, joined by custom_id",
    match=_is_anthropic,
    exchanges=_anthropic,
    shared_key=_key,
    combine=_pair,
)
