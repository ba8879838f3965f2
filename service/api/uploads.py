"""In: accounts table; out: jobs. And the deletion of an account."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any

import orjson
import pandas as pd
import pyarrow as pa
from fastapi import APIRouter, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel
from sqlalchemy import update

from kdguard.readers.rejects import Unfit
from kdguard.scoring.facts import accounts_table
from kdguard.service.api import examples
from kdguard.service.api.access import Admin, Caller, Ingester, Reader, Serving
from kdguard.service.api.exchanges import ARROW, media_type
from kdguard.service.api.problems import RESPONSES, Problem
from kdguard.service.api.state import Service
from kdguard.service.api.subjects import AccountId
from kdguard.service.ingest.bodies import body_of
from kdguard.service.live.baselines import mark_baselines
from kdguard.service.live.errands import folder_of
from kdguard.service.marks.forgetting import forget_in_marks
from kdguard.service.store import jobs, trail, verdicts
from kdguard.service.store.accounts import account_facts, forget_account, put_accounts
from kdguard.service.store.tables import JOBS

router = APIRouter(tags=["uploads"], responses=RESPONSES)

_CSV, _NDJSON = "text/csv", "application/x-ndjson"
OCTETS = "application/octet-stream"


class Stored(BaseModel):
    """How many rows were stored."""

    accounts: int


class Job(BaseModel):
    """A job."""

    id: str
    kind: str
    state: str
    progress: float
    attempts: int
    created_us: int
    ended_us: int | None
    result: dict[str, Any] | None


class Queued(BaseModel):
    """A job that was added."""

    job: str


@router.post(
    "/v1/accounts",
    openapi_extra=examples.body(
        {
            _CSV: examples.ACCOUNTS_CSV,
            _NDJSON: examples.ACCOUNTS_NDJSON,
            ARROW: examples.ACCOUNTS_ARROW,
        }
    ),
)
async def post_accounts(request: Request, caller: Ingester, service: Serving) -> Stored:
    """Add accounts to the table, or replace what is known of them: CSV, JSON lines or Arrow."""
    kind = media_type(request)
    body = await body_whole(request, service)

    def store() -> Stored:
        table = _accounts(kind, body)
        with service.database.write() as connection:
            stored = put_accounts(connection, caller.tenant, table)
            trail.record(
                connection,
                caller.tenant,
                actor=caller.actor,
                action="accounts.put",
                details={"accounts": stored},
            )
        return Stored(accounts=stored)

    return await run_in_threadpool(store)


@router.delete("/v1/accounts/{account_id:path}", status_code=202)
def delete_account(account_id: AccountId, caller: Admin, service: Serving) -> Queued:
    """Forget an account.

    At once: its key (so that no body of it can be read again), what the accounts table, the verdicts and the results of
    mark checks hold of it. By the job that is named: its signals and its state, by which it is in clusters. Its salted
    name stays in the audit trail, and baselines that rank among its owner are marked.
    """
    if "\0" in account_id:
        raise Problem(422, "invalid", "a text must hold no NUL")
    keys = service.inbox(caller.tenant).keys
    with service.database.write() as connection:
        facts = account_facts(connection, caller.tenant, account_id) or {}
        destroyed = keys.destroy(connection, account_id)
        forget_account(connection, caller.tenant, account_id)
        verdicts.forget_subject(connection, caller.tenant, account_id)
        forget_in_marks(connection, caller.tenant, account_id)
        job = jobs.add(connection, caller.tenant, jobs.FORGET, {"account": account_id})
        folder = service.inbox(caller.tenant).folders.baselines
        marked = mark_baselines(connection, caller.tenant, folder, account_id, facts)
        details = {"key_destroyed": destroyed, "baselines_marked": marked}
        trail.record(
            connection,
            caller.tenant,
            actor=caller.actor,
            action=trail.FORGET,
            account=account_id,
            details=details,
        )
    service.gateway.facts.forget(caller.tenant, account_id)
    return Queued(job=job)


def queued(
    service: Service,
    caller: Caller,
    kind: str,
    action: str,
    given: Mapping[str, Any],
    files: Mapping[str, bytes],
    prepare: Callable[[Path], None] | None = None,
) -> Queued:
    """Add a job whose uploads are written first.

    Args:
        service: The service.
        caller: Who asks.
        kind: What is to be done.
        action: As the audit trail names it.
        given: With what.
        files: Uploads by name; they go when the job ends.
        prepare: Puts what else the job needs into its folder.
    """
    with service.database.write() as connection:
        job = jobs.add(connection, caller.tenant, jobs.HELD, given)
        trail.record(connection, caller.tenant, actor=caller.actor, action=action, details={"job": job})
    folder = folder_of(service.settings.data, caller.tenant, job)
    folder.mkdir(parents=True, mode=0o700)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    if prepare is not None:
        prepare(folder)
    with service.database.write() as connection:
        connection.execute(update(JOBS).where(JOBS.c.id == job).values(kind=kind))
    return Queued(job=job)


@router.get("/v1/jobs")
def list_jobs(caller: Reader, service: Serving, limit: Annotated[int, Query(ge=1, le=500)] = 50) -> list[Job]:
    """Jobs, the newest first."""
    with service.database.read() as connection:
        return [Job(**told) for told in jobs.jobs_of(connection, caller.tenant, limit)]


@router.get("/v1/jobs/{job}")
def get_job(job: str, caller: Reader, service: Serving) -> Job:
    """One job: how far it is, and what came of it."""
    with service.database.read() as connection:
        told = jobs.job_of(connection, caller.tenant, job) if job.isalnum() else None
    if told is None:
        raise Problem(404, "not-found", "there is no such job")
    return Job(**told)


async def body_whole(request: Request, service: Service) -> bytes:
    """A body, unpacked, within its limit."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    return await body_of(request.stream(), encoding, service.settings.most_body_bytes)


def _accounts(kind: str, body: bytes) -> pa.Table:
    if kind not in (_CSV, _NDJSON, "application/jsonl", ARROW):
        raise Problem(415, "media-type", f"the body must be {_CSV}, {_NDJSON} or {ARROW}")
    try:
        if kind == ARROW:
            frame = pa.ipc.open_stream(body).read_all().to_pandas()
        elif kind == _CSV:
            frame = pd.read_csv(io.BytesIO(body), dtype=str, keep_default_na=False, na_values=[""])
        else:
            frame = pd.DataFrame(
                [orjson.loads(line) for line in body.splitlines() if line.strip()], dtype=object
            )
        table = accounts_table(frame, name="body")
        table.validate(full=True)
    except (ValueError, TypeError, pa.ArrowException, AttributeError) as error:
        if isinstance(error, Unfit) or type(error).__name__ == "AccountsError":
            raise
        raise Unfit("a body must be a table of accounts", type(error).__name__) from error
    if any("\0" in str(name) for name in table["account_id"].to_pylist()):
        raise Unfit("an account id must hold no NUL")
    return table
