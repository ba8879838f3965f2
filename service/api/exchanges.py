"""In: exchanges as NDJSON or Arrow, OTLP traces, each durable before the answer."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)
from pydantic import BaseModel, Field
from sqlalchemy import select

from kdguard.service.api import examples
from kdguard.service.api.access import Caller, Ingester, Serving
from kdguard.service.api.problems import RESPONSES, Problem, retry
from kdguard.service.api.state import Service
from kdguard.service.ingest.bodies import body_of
from kdguard.service.ingest.reading import Read, read_arrow, read_ndjson, read_traces
from kdguard.service.ingest.sealing import seal
from kdguard.service.out.metrics import INGESTED
from kdguard.service.store.api_keys import now_us
from kdguard.service.store.database import upsert
from kdguard.service.store.tables import IDEMPOTENCY

router = APIRouter(tags=["ingest"], responses=RESPONSES)

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl", "application/json", "")
ARROW = "application/vnd.apache.arrow.stream"
JSON, PROTOBUF = "application/json", "application/x-protobuf"
_WAITING_PER_SLOT = 8


def media_type(request: Request) -> str:
    """What a body says that it is, without parameters; empty where it says nothing."""
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


class LineError(BaseModel):
    """A line that could not be read."""

    line: int = Field(description="From 1; 0 where the line is not known.")
    reason: str


class Ingested(BaseModel):
    """What became of a body."""

    accepted: int = Field(description="Exchanges that are durable now.", examples=[998])
    rejected: int = Field(description="Lines or rows that could not be read.", examples=[2])
    errors: list[LineError] = Field(description="The first thousand of them.")
    skipped: int = Field(
        0,
        description="Records of another kind, which hold no exchange. All of them? Then name another `format`.",
    )


@router.post(
    "/v1/exchanges",
    openapi_extra=examples.body({NDJSON[0]: examples.EXCHANGES_NDJSON, ARROW: examples.EXCHANGES_ARROW}),
)
async def post_exchanges(
    request: Request,
    response: Response,
    caller: Ingester,
    service: Serving,
    format: Annotated[str, Query(max_length=40, description="Format of NDJSON lines.")] = "jsonl",
    idempotency_key: Annotated[str | None, Header(min_length=1, max_length=200)] = None,
) -> Ingested:
    """Take exchanges in.

    A line that cannot be read is named and does not stop the rest. An exchange that comes again (same account, request
    id and choice) counts once, so a request that got no answer can be sent again as it is. Exchanges without a time get
    the time of arrival.
    """
    kind = media_type(request)
    if kind not in NDJSON and kind != ARROW:
        raise Problem(415, "media-type", f"the body must be {NDJSON[0]} or {ARROW}")
    async with _slot(request):
        body = await _body(request, service)
        before = await _said_before(service, caller, idempotency_key, body)
        if before is not None:
            response.headers["idempotent-replayed"] = "true"
            return Ingested.model_validate_json(before)

        def reading(received_us: int) -> Read:
            return read_arrow(body, received_us) if kind == ARROW else read_ndjson(body, format, received_us)

        told = await take(service, caller, reading)
        if idempotency_key is not None:
            await run_in_threadpool(_remember, service, caller, idempotency_key, body, told)
    if told.rejected and not told.accepted:
        more = {"errors": [error.model_dump() for error in told.errors]}
        raise Problem(422, "no-line", "no line could be read", more=more)
    return told


@router.post(
    "/v1/traces",
    response_class=Response,
    openapi_extra=examples.body({JSON: examples.TRACES_JSON, PROTOBUF: examples.TRACES_PROTOBUF}),
)
async def post_traces(request: Request, caller: Ingester, service: Serving) -> Response:
    """Take OTLP/HTTP traces in, JSON or protobuf; spans that are no GenAI calls are passed over."""
    kind = media_type(request)
    if kind not in (JSON, PROTOBUF):
        raise Problem(415, "media-type", f"the body must be {JSON} or {PROTOBUF}")
    async with _slot(request):
        body = await _body(request, service)
        told = await take(service, caller, lambda at_us: read_traces(body, at_us, protobuf=kind == PROTOBUF))
    why = told.errors[0].reason if told.errors else ""
    if kind == PROTOBUF:
        partial = ExportTracePartialSuccess(rejected_spans=told.rejected, error_message=why)
        answer = ExportTraceServiceResponse(partial_success=partial if told.rejected else None)
        return Response(answer.SerializeToString(), media_type=PROTOBUF)
    partial_json = {"partialSuccess": {"rejectedSpans": str(told.rejected), "errorMessage": why}}
    return Response(orjson.dumps(partial_json if told.rejected else {}), media_type=JSON)


async def take(service: Service, caller: Caller, reading: Callable[[int], Read]) -> Ingested:
    """Read, encrypt and write exchanges; returns once they are durable."""
    if service.is_nearly_full:
        raise retry(503, "disk", "the disk is nearly full; nothing was taken in")
    inbox = await run_in_threadpool(service.inbox, caller.tenant)

    def sealed() -> tuple[Read, bytes | None]:
        received_us = now_us()
        read = reading(received_us)
        payload = (
            seal(read.batches, inbox.keys, caller.tenant, received_us=received_us) if read.batches else None
        )
        return read, payload

    read, payload = await run_in_threadpool(sealed)
    if payload is not None:
        await asyncio.wrap_future(inbox.journal.submit(payload))
    INGESTED.labels("accepted").inc(read.exchanges)
    INGESTED.labels("rejected").inc(read.errors.total)
    INGESTED.labels("skipped").inc(read.errors.skipped)
    errors = [LineError(line=line, reason=reason) for line, reason in read.errors.lines]
    return Ingested(
        accepted=read.exchanges, rejected=read.errors.total, errors=errors, skipped=read.errors.skipped
    )


class _Slot:
    """One of the bodies that are worked on at once."""

    def __init__(self, slots: asyncio.Semaphore, waiting: list[int], most_waiting: int) -> None:
        self._slots, self._waiting, self._most = slots, waiting, most_waiting

    async def __aenter__(self) -> None:
        if self._slots.locked() and self._waiting[0] >= self._most:
            raise retry(503, "busy", "too many bodies are being taken in", 1)
        self._waiting[0] += 1
        try:
            await self._slots.acquire()
        finally:
            self._waiting[0] -= 1

    async def __aexit__(self, *_: object) -> None:
        self._slots.release()


def _slot(request: Request) -> _Slot:
    state: Any = request.app.state
    return _Slot(state.slots, state.waiting, _WAITING_PER_SLOT * state.service.settings.most_ingests)


async def _body(request: Request, service: Service) -> bytes:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    return await body_of(request.stream(), encoding, service.settings.most_body_bytes)


async def _said_before(service: Service, caller: Caller, key: str | None, body: bytes) -> str | None:
    """The answer that a key got before.

    Raises:
        Problem: 422, it was used for another body.
    """
    if key is None:
        return None

    def ask() -> Any:
        mine = (IDEMPOTENCY.c.tenant == caller.tenant) & (IDEMPOTENCY.c.api_key == caller.actor)
        with service.database.read() as connection:
            return connection.execute(select(IDEMPOTENCY).where(mine & (IDEMPOTENCY.c.key == key))).first()

    row = await run_in_threadpool(ask)
    if row is None:
        return None
    if bytes(row.body_digest) != hashlib.sha256(body).digest():
        raise Problem(422, "idempotency", "this Idempotency-Key was used for another body")
    return str(row.body)


def _remember(service: Service, caller: Caller, key: str, body: bytes, told: Ingested) -> None:
    row = {
        "tenant": caller.tenant,
        "api_key": caller.actor,
        "key": key,
        "body_digest": hashlib.sha256(body).digest(),
        "at_us": now_us(),
        "status": 200,
        "body": told.model_dump_json(),
    }
    with service.database.write() as connection:
        upsert(connection, IDEMPOTENCY, [row], ["body"])
