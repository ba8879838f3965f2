"""Out: pages to keep, and bundles that a stranger checks offline."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from kdguard.audit.bundle import BUNDLE_TYPE, sign_case
from kdguard.audit.case import Case
from kdguard.errors import InputError
from kdguard.report import saved
from kdguard.report.html import TABLE_ROWS, render
from kdguard.report.lineage import render_lineage
from kdguard.service.api.access import Admin, Auditor, Caller, Reader, Serving
from kdguard.service.api.problems import RESPONSES, Problem
from kdguard.service.api.state import Service
from kdguard.service.live import lineage_jobs, suspect_jobs
from kdguard.service.marks import cases
from kdguard.service.store import jobs, trail, verdicts
from kdguard.service.store.lines import first_lines

router = APIRouter(tags=["reports"], responses=RESPONSES)

LINEAGE_KINDS = (lineage_jobs.KIND, suspect_jobs.KIND)
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$")]
_HTML: dict[int | str, dict[str, Any]] = {200: {"content": {"text/html": {"schema": {"type": "string"}}}}}
_LINES: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}
}
_BUNDLE: dict[int | str, dict[str, Any]] = {
    200: {"content": {BUNDLE_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
}


class BundleAsk(BaseModel):
    """What a bundle is to be about."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"suspect": "student-7"}]})

    suspect: str | None = Field(
        None, max_length=200, description="Of a lineage audit; not needed where the job is about one thing."
    )


@router.get("/v1/report", response_class=Response, responses=_HTML)
def get_report(caller: Reader, service: Serving) -> Response:
    """The latest look at all accounts as a page to keep: every cluster, and the most suspicious accounts."""
    with service.database.write() as connection:
        summary = verdicts.summary_of(connection, caller.tenant)
        if summary is None:
            raise Problem(404, "not-found", "nothing was scored yet")
        lines = [
            body
            for kind in ("cluster", "account")
            for body in first_lines(connection, caller.tenant, kind, TABLE_ROWS)
        ]
        _record(connection, caller, "report.read", None, {"subjects": len(lines)})
    closing = orjson.dumps({"summary": summary["summary"]}).decode()
    return _page(render(saved.load("\n".join([*lines, closing]).encode(), "verdicts")), "kdguard-report.html")


@router.get("/v1/jobs/{job}/report", response_class=Response, responses=_HTML)
def get_job_report(job: JobId, caller: Reader, service: Serving) -> Response:
    """A lineage audit as a page to keep."""
    with service.database.write() as connection:
        told = jobs.job_of(connection, caller.tenant, job)
        if told is None or told["kind"] not in LINEAGE_KINDS or told["state"] != "done":
            raise Problem(404, "not-found", "there is no such lineage audit that ended well")
        _record(connection, caller, "lineage.report", job)
    return _page(render_lineage(told["result"]), f"kdguard-lineage-{job[:12]}.html")


@router.get("/v1/jobs/{job}/answers", response_class=Response, responses=_LINES)
def get_answers(job: JobId, caller: Auditor, service: Serving) -> Response:
    """What a live suspect answered, as JSON lines, for `kdguard lineage verify --responses`."""
    with service.database.write() as connection:
        kept = jobs.given_of(connection, caller.tenant, job)
        lines = cases.opened_answers(service.secrets, job, kept or {})
        if lines is None:
            raise Problem(404, "not-found", "there is no such live audit that ended well")
        _record(connection, caller, "lineage.answers", job)
    return _file(lines, "application/x-ndjson", f"kdguard-answers-{job[:12]}.jsonl")


@router.post("/v1/jobs/{job}/bundle", response_class=Response, responses=_BUNDLE)
def post_bundle(job: JobId, asked: BundleAsk, caller: Admin, service: Serving) -> Response:
    """Sign what a job found, for `kdguard audit verify` on any computer.

    It reveals the keys of the marks that it is about, and so ends their use. That it was made stands in the trail.
    """
    with service.database.read() as connection:
        kept = jobs.given_of(connection, caller.tenant, job)
    found = cases.opened(service.secrets, job, kept or {})
    if not found:
        raise Problem(404, "not-found", "there is no such job that found something to be signed")
    case = _one_of(found, asked.suspect)
    try:
        bundle = _signed(service, caller.tenant, case)
    except InputError as error:
        raise Problem(409, "vault", str(error)) from error
    with service.database.write() as connection:
        details = {
            "test": case.test,
            "keys_revealed": len(case.keys),
            "sha256": cases.input_of("", bundle)["sha256"],
        }
        _record(connection, caller, "bundle.sign", job, details)
    return _file(bundle, BUNDLE_TYPE, f"kdguard-{job[:12]}.bundle")


def _signed(service: Service, tenant: str, case: Case) -> bytes:
    return sign_case(case, service.vault.keys(tenant), service.vault.ledger(tenant), datetime.now(UTC))


def _one_of(found: dict[str, Case], suspect: str | None) -> Case:
    if suspect is None and len(found) == 1:
        return next(iter(found.values()))
    if suspect not in found:
        raise Problem(
            422, "suspect", "name one suspect that could be ranked", more={"suspects": sorted(found)[:64]}
        )
    return found[suspect]


def _page(text: str, name: str) -> Response:
    """A page with its style inside: to be kept and opened from disk, since pages of the service allow no such thing."""
    return _file(text.encode(), "text/html; charset=utf-8", name)


def _file(content: bytes, kind: str, name: str) -> Response:
    headers = {"content-disposition": f'attachment; filename="{name}"'}
    return Response(content, media_type=kind, headers=headers)


def _record(
    connection: Any, caller: Caller, action: str, subject: str | None, details: dict[str, Any] | None = None
) -> None:
    trail.record(
        connection, caller.tenant, actor=caller.actor, action=action, subject=subject, details=details
    )
