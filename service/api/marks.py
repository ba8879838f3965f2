"""Marks: registering them, and checking texts and answers of suspects against them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path as FilePath
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from kdguard.detectors.watermark.mark import Mark
from kdguard.ledger.keys import KeyStore
from kdguard.service.api import examples
from kdguard.service.api.access import Admin, Auditor, Caller, Reader, Serving
from kdguard.service.api.mark_checks import Check
from kdguard.service.api.problems import RESPONSES, Problem
from kdguard.service.api.state import Service
from kdguard.service.api.uploads import OCTETS, Queued, body_whole, queued
from kdguard.service.live.errands import ASKED
from kdguard.service.marks.jobs import KIND
from kdguard.service.marks.registered import (
    CHECKED,
    KINDS,
    MarkFiles,
    MarkKind,
    canary_plan,
    fitting_tokenizer,
    twins_plan,
)
from kdguard.service.store import registrations, trail

router = APIRouter(tags=["marks"], responses=RESPONSES)

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", examples=["december"])]


class WatermarkTold(BaseModel):
    """A watermark: its public description, and for which epoch and account the vault derives its key."""

    model_config = ConfigDict(extra="forbid")

    mark: dict[str, Any] = Field(
        description="As `kdguard audit commit --parameters` took it.",
        examples=[{"scheme": "green-siphash", "width": 1, "gamma": 0.25}],
    )
    epoch: str = Field(min_length=1, max_length=100, examples=["2026-12"])
    account: str = Field("", max_length=1024, description="Empty for one key for all.")


class Registered(BaseModel):
    """A mark as it is registered; its plan and its key are not told."""

    kind: MarkKind
    name: str = Field(examples=["december"])
    at_us: int
    body: dict[str, Any] = Field(examples=[{"epoch": "2026-12", "generation": 1, "accounts": 5, "sites": 9}])


@router.put("/v1/marks/watermark/{name}")
def put_watermark(name: Name, told: WatermarkTold, caller: Admin, service: Serving) -> Registered:
    """Register a watermark; its key stays in the vault. A tokenizer that was registered before goes."""
    body = told.model_dump() | {"mark": Mark.of(told.mark).parameters(), "tokenizer": None}
    _files(service, caller).drop("watermark", name)
    return _put(service, caller, "watermark", name, body)


@router.put(
    "/v1/marks/watermark/{name}/tokenizer", openapi_extra=examples.body({OCTETS: examples.TOKENIZER_FILE})
)
async def put_tokenizer(name: Name, request: Request, caller: Admin, service: Serving) -> Registered:
    """Upload the `tokenizer.json` a watermark is written in, so that words can be checked and not only token ids."""
    content = await body_whole(request, service)

    def store() -> Registered:
        known = _known(service, caller, "watermark", name)
        files = _files(service, caller)
        with files.written(content, "tokenizer.json") as path:
            digest = fitting_tokenizer(path, Mark.of(known["mark"]))
        files.put("watermark", name, content)
        return _put(service, caller, "watermark", name, known | {"tokenizer": digest})

    return await run_in_threadpool(store)


@router.put("/v1/marks/canary/{name}", openapi_extra=examples.body({OCTETS: examples.CANARIES_FILE}))
async def put_canaries(name: Name, request: Request, caller: Admin, service: Serving) -> Registered:
    """Upload the file that `kdguard canary plan` wrote; kept is its description, encrypted."""
    content = await body_whole(request, service)
    return await run_in_threadpool(_put_plan, service, caller, "canary", name, content, canary_plan)


@router.put("/v1/marks/twins/{name}", openapi_extra=examples.body({OCTETS: examples.TWINS_FILE}))
async def put_twins(name: Name, request: Request, caller: Admin, service: Serving) -> Registered:
    """Upload the file that `kdguard twins plan` wrote; it is kept encrypted."""
    content = await body_whole(request, service)
    return await run_in_threadpool(_put_plan, service, caller, "twins", name, content, twins_plan)


@router.get("/v1/marks")
def list_marks(caller: Reader, service: Serving) -> list[Registered]:
    """Marks that can be checked."""
    with service.database.read() as connection:
        return [Registered(**told) for told in registrations.listed(connection, caller.tenant, KINDS)]


@router.delete("/v1/marks/{kind}/{name}", status_code=204)
def delete_mark(kind: MarkKind, name: Name, caller: Admin, service: Serving) -> None:
    """Forget a mark with its plan; keys and ledger stay in the vault."""
    with service.database.write() as connection:
        if not registrations.drop(connection, caller.tenant, kind, name):
            raise Problem(404, "not-found", "there is no such mark")
        _record(connection, caller, "mark.drop", f"{kind}/{name}")
    _files(service, caller).drop(kind, name)


@router.post("/v1/marks/checks", status_code=202)
def post_check(asked: Check, caller: Auditor, service: Serving) -> Queued:
    """Look for a mark in texts or answers, as a job.

    Needs the scope `audit`, for who may try texts learns to wash marks out. The rows are erased when it ends. Finding
    nothing is no evidence that nothing was taken.
    """
    _known(service, caller, CHECKED[asked.kind], asked.name)
    _opened_keys(service, caller)
    content = orjson.dumps(asked.model_dump(exclude_none=True))
    given = {"kind": asked.kind, "name": asked.name}
    return queued(service, caller, KIND, "mark.check", given, {ASKED: content})


def _put_plan(
    service: Service,
    caller: Caller,
    kind: MarkKind,
    name: str,
    content: bytes,
    reading: Callable[[FilePath, KeyStore], tuple[bytes, dict[str, Any]]],
) -> Registered:
    keys, files = _opened_keys(service, caller), _files(service, caller)
    with files.written(content, "plan.parquet") as path:
        kept, told = reading(path, keys)
    files.put(kind, name, kept)
    return _put(service, caller, kind, name, told)


def _put(service: Service, caller: Caller, kind: MarkKind, name: str, body: dict[str, Any]) -> Registered:
    with service.database.write() as connection:
        told = registrations.put(connection, caller.tenant, kind, name, body)
        _record(connection, caller, "mark.put", f"{kind}/{name}")
    return Registered(**told)


def _known(service: Service, caller: Caller, kind: MarkKind, name: str) -> dict[str, Any]:
    with service.database.read() as connection:
        found = registrations.found(connection, caller.tenant, kind, name)
    if found is None:
        raise Problem(404, "not-found", "there is no such mark")
    body: dict[str, Any] = found["body"]
    return body


def _opened_keys(service: Service, caller: Caller) -> KeyStore:
    if not service.vault.usable(caller.tenant):
        why = "the keys of this tenant's marks are not here; set `vault`, see the README of the service"
        raise Problem(409, "vault", why)
    return service.vault.keys(caller.tenant)


def _files(service: Service, caller: Caller) -> MarkFiles:
    return MarkFiles(service.folder(caller.tenant), caller.tenant, service.secrets)


def _record(connection: Any, caller: Caller, action: str, subject: str) -> None:
    trail.record(connection, caller.tenant, actor=caller.actor, action=action, subject=subject)
