"""Baselines: uploaded or learnt here, made the one that ranks; and whom they must not learn from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select

from kdguard.service.api import examples
from kdguard.service.api.access import Admin, Caller, Reader, Serving
from kdguard.service.api.exchanges import ARROW, NDJSON, media_type
from kdguard.service.api.problems import RESPONSES, Problem
from kdguard.service.api.state import Service
from kdguard.service.api.uploads import OCTETS, Queued, body_whole, queued
from kdguard.service.ingest.journal import framed, path_of, sealed
from kdguard.service.ingest.reading import read_arrow, read_ndjson
from kdguard.service.ingest.sealing import seal
from kdguard.service.live.baselines import activate, store_baseline
from kdguard.service.live.errands import ASKED
from kdguard.service.live.learning import KIND, SEGMENTS, link_segments
from kdguard.service.store import trail, verdicts
from kdguard.service.store.api_keys import now_us
from kdguard.service.store.tables import BASELINES

router = APIRouter(tags=["baselines"], responses=RESPONSES)

Digest = Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
Time = Annotated[int, Field(ge=0, le=2**62, description="Microseconds since 1970.")]
Seed = Annotated[int, Field(ge=0, lt=2**31, description="Of the split into teaching and calibration.")]
AccountName = Annotated[str, Field(min_length=1, max_length=1024)]


class BaselineTold(BaseModel):
    """A baseline of the tenant."""

    digest: str
    at_us: int
    active: bool
    owners: int
    marked: str | None = Field(description="Why it should be learnt anew.")


class LearnAsk(BaseModel):
    """What a baseline is to be learnt from."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"since_us": 1_764_300_000_000_000, "exclude": ["acct-42"]}]},
    )

    since_us: Time | None = None
    until_us: Time | None = None
    exclude: Annotated[
        list[AccountName], Field(max_length=100_000, description="Accounts to leave out.")
    ] = []
    exclude_confirmed: Annotated[
        bool, Field(description="Leave out whom people confirmed as thieves, too.")
    ] = True
    seed: Seed = 0
    activate: Annotated[bool, Field(description="Rank by it as soon as it is learnt.")] = False


@router.post(
    "/v1/baselines",
    status_code=201,
    openapi_extra=examples.body({OCTETS: examples.BASELINE_FILE}),
)
async def post_baseline(request: Request, caller: Admin, service: Serving) -> BaselineTold:
    """Upload a baseline made by `kdguard baseline`, and rank by it from now on.

    Signals depend on what a baseline learnt, so scores begin anew with the bodies that the journal still holds.
    """
    body = await body_whole(request, service)

    def store() -> BaselineTold:
        digest, baseline = store_baseline(service.inbox(caller.tenant).folders.baselines, body)
        return _activated(service, caller, digest, baseline.owners, "baseline.put")

    return await run_in_threadpool(store)


@router.post("/v1/baselines/learn", status_code=202)
def post_learning(asked: LearnAsk, caller: Admin, service: Serving) -> Queued:
    """Learn a baseline from what the journal holds of a period, as a job.

    Without retention that is a day at most. The job's result has the baseline's digest, and how many owners calibrate.
    """
    inbox = service.inbox(caller.tenant)
    inbox.journal.seal()
    if not sealed(inbox.folders.journal):
        raise Problem(
            409, "journal", "the journal holds no exchanges now; send some, or upload a log to learn from"
        )

    def link(folder: FilePath) -> None:
        link_segments(inbox.folders.journal, folder / SEGMENTS)

    return _queued(service, caller, asked, link)


@router.post(
    "/v1/baselines/learn-from",
    status_code=202,
    openapi_extra=examples.body({NDJSON[0]: examples.EXCHANGES_NDJSON, ARROW: examples.EXCHANGES_ARROW}),
)
async def post_learning_from(
    request: Request,
    caller: Admin,
    service: Serving,
    format: Annotated[str, Query(max_length=40, description="Format of NDJSON lines.")] = "jsonl",
    exclude_confirmed: bool = True,
    seed: Seed = 0,
    activate: bool = False,
) -> Queued:
    """Learn a baseline from a log that is sent along, as a job; the log lies encrypted, and goes with the job."""
    kind = media_type(request)
    if kind not in NDJSON and kind != ARROW:
        raise Problem(415, "media-type", f"the body must be {NDJSON[0]} or {ARROW}")
    body = await body_whole(request, service)
    asked = LearnAsk(exclude_confirmed=exclude_confirmed, seed=seed, activate=activate)

    def store() -> Queued:
        at_us = now_us()
        read = read_arrow(body, at_us) if kind == ARROW else read_ndjson(body, format, at_us)
        if not read.batches:
            raise Problem(422, "no-line", "no line could be read")
        keys = service.inbox(caller.tenant).keys
        content = framed(seal(read.batches, keys, caller.tenant, received_us=at_us))

        def write(folder: FilePath) -> None:
            (folder / SEGMENTS).mkdir(mode=0o700)
            path_of(folder / SEGMENTS, 1).write_bytes(content)

        return _queued(service, caller, asked, write)

    return await run_in_threadpool(store)


@router.get("/v1/baselines")
def list_baselines(caller: Reader, service: Serving) -> list[BaselineTold]:
    """The tenant's baselines; without any, the shipped one serves, which never flags."""
    with service.database.read() as connection:
        return _baselines(connection, caller.tenant)


@router.get("/v1/baselines/exclusions", response_class=PlainTextResponse)
def list_exclusions(caller: Reader, service: Serving) -> PlainTextResponse:
    """Whom people confirmed as thieves, alone or in a cluster, one a line: for `kdguard baseline --exclude`."""
    with service.database.read() as connection:
        confirmed = verdicts.excluded(connection, caller.tenant)
    return PlainTextResponse("".join(f"{account}\n" for account in confirmed))


@router.post("/v1/baselines/{digest}/activate")
def activate_baseline(digest: Digest, caller: Admin, service: Serving) -> BaselineTold:
    """Rank by a baseline that is stored; scores begin anew with the bodies that the journal still holds."""
    with service.database.read() as connection:
        known = _baselines(connection, caller.tenant, digest)
    if not known:
        raise Problem(404, "not-found", "there is no such baseline")
    return _activated(service, caller, digest, known[0].owners, "baseline.activate")


def _queued(service: Service, caller: Caller, asked: LearnAsk, prepare: Callable[[FilePath], None]) -> Queued:
    files = {ASKED: orjson.dumps(asked.model_dump())}
    given = asked.model_dump(exclude={"exclude"})
    return queued(service, caller, KIND, "baseline.ask", given, files, prepare)


def _activated(service: Service, caller: Caller, digest: str, owners: int, action: str) -> BaselineTold:
    with service.database.write() as connection:
        activate(connection, caller.tenant, digest, owners)
        trail.record(connection, caller.tenant, actor=caller.actor, action=action, details={"digest": digest})
        return _baselines(connection, caller.tenant, digest)[0]


def _baselines(connection: Any, tenant: str, digest: str | None = None) -> list[BaselineTold]:
    query = select(BASELINES).where(BASELINES.c.tenant == tenant).order_by(BASELINES.c.at_us.desc())
    if digest is not None:
        query = query.where(BASELINES.c.digest == digest)
    return [BaselineTold.model_validate(row, from_attributes=True) for row in connection.execute(query)]
