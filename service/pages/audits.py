"""Lineage audits, checks of marks, and the trail of who saw and did what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from kdguard.service.api import administration, marks, uploads
from kdguard.service.api.access import Serving
from kdguard.service.api.problems import Problem
from kdguard.service.api.reports import LINEAGE_KINDS
from kdguard.service.live.served_jobs import KIND as SERVED
from kdguard.service.marks.jobs import KIND as MARK_CHECK
from kdguard.service.pages import queries
from kdguard.service.pages.rendering import PageRoute, address, page
from kdguard.service.pages.sessions import Looking
from kdguard.service.store.api_keys import keys_of

router = APIRouter(prefix="/pages", route_class=PageRoute, include_in_schema=False)

_JOBS = 100
_ENTRIES = 50
_LINES = 100
VERIFIED_AT_ONCE = 5_000
"""Trails up to this length are verified whenever they are shown; longer ones when asked for."""


@router.get("/lineage")
def get_audits(request: Request, visitor: Looking, service: Serving) -> Response:
    """Lineage audits, the newest first."""
    found = uploads.list_jobs(visitor.caller, service, _JOBS)
    audits = [job for job in found if job.kind in (*LINEAGE_KINDS, SERVED)]
    return page(request, "lineage.html.j2", visitor=visitor, current="lineage", audits=audits)


@router.get("/lineage/{job}")
def get_audit(job: str, request: Request, visitor: Looking, service: Serving) -> Response:
    """One lineage audit: how far it is, and its verdicts."""
    audit = uploads.get_job(job, visitor.caller, service)
    if audit.kind == SERVED:
        lines = (audit.result or {}).get("lines", [])
        return page(
            request,
            "served.html.j2",
            visitor=visitor,
            current="lineage",
            audit=audit,
            **_first(lines),
        )
    if audit.kind not in LINEAGE_KINDS:
        raise Problem(404, "not-found", "there is no such lineage audit")
    return page(request, "audit.html.j2", visitor=visitor, current="lineage", audit=audit)


@router.get("/marks")
def get_marks(request: Request, visitor: Looking, service: Serving) -> Response:
    """Marks that are registered, and checks, the newest first."""
    checks = [job for job in uploads.list_jobs(visitor.caller, service, _JOBS) if job.kind == MARK_CHECK]
    return page(
        request,
        "marks.html.j2",
        visitor=visitor,
        current="marks",
        marks=marks.list_marks(visitor.caller, service),
        checks=checks,
        vault=service.vault.usable(visitor.caller.tenant),
    )


@router.get("/marks/{job}")
def get_check(job: str, request: Request, visitor: Looking, service: Serving) -> Response:
    """One check of a mark: how far it is, and what it found."""
    check = uploads.get_job(job, visitor.caller, service)
    if check.kind != MARK_CHECK:
        raise Problem(404, "not-found", "there is no such check")
    lines = [line for line in (check.result or {}).get("lines", ()) if "subject" in line]
    lines.sort(key=lambda line: 2.0 if line.get("p_value") is None else line["p_value"])
    return page(
        request,
        "check.html.j2",
        visitor=visitor,
        current="marks",
        check=check,
        **_first(lines),
    )


@router.get("/trail")
def get_trail(
    request: Request,
    visitor: Looking,
    service: Serving,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    check: Literal["1"] | None = None,
) -> Response:
    """Who saw and did what, the newest first, and whether the chain holds."""
    if "audit" not in visitor.caller.scopes:
        raise Problem(403, "scope", "the audit trail needs a key with the scope 'audit'")
    with service.database.read() as connection:
        length = queries.trail_length(connection, visitor.caller.tenant)
        names = {key.id: key.name for key in keys_of(connection, visitor.caller.tenant)}
    verified = None
    if check or length <= VERIFIED_AT_ONCE:
        verified = administration.verify_trail(visitor.caller, service)
    told = administration.list_trail(visitor.caller, service, before, _ENTRIES)
    return page(
        request,
        "trail.html.j2",
        visitor=visitor,
        current="trail",
        entries=told.items,
        names=names,
        length=length,
        verified=verified,
        onward=address("trail", before=told.next) if told.next else None,
        first=address("trail") if before is not None else None,
    )


def _first(lines: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The lines that a page shows, and how many it leaves out."""
    return {"lines": lines[:_LINES], "left_out": max(len(lines) - _LINES, 0)}
