"""What persons conclude about an account or a cluster."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import ValidationError
from starlette.responses import RedirectResponse, Response

from kdguard.service.api import subjects
from kdguard.service.api.access import Serving
from kdguard.service.api.problems import Problem
from kdguard.service.api.state import Service
from kdguard.service.api.subjects import Disposing
from kdguard.service.pages import queries
from kdguard.service.pages.rendering import PageRoute, address
from kdguard.service.pages.sessions import Form, Looking, Visitor
from kdguard.service.store import trail, verdicts
from kdguard.service.store.api_keys import now_us

router = APIRouter(prefix="/pages", route_class=PageRoute, include_in_schema=False)


@router.post("/dispose")
def post_dispose(visitor: Looking, service: Serving, fields: Form) -> Response:
    """Note what the visitor concluded, as the interface for programs does: it needs the scope `decide` too."""
    kind, subject = fields.get("kind", ""), fields.get("id", "")
    try:
        told = Disposing.model_validate({name: fields.get(name, "") for name in ("disposition", "note")})
    except ValidationError as error:
        raise Problem(422, "invalid", "choose a conclusion; a note has at most 4,000 characters") from error
    if kind == "account":
        subjects.dispose_account(subject, told, visitor.caller, service)
    elif kind == "cluster":
        detail = subjects.dispose_cluster(subject, told, visitor.caller, service)
        if fields.get("members"):
            _dispose_members(service, visitor, detail.verdict["subject"]["members"], subject, told)
    else:
        raise Problem(422, "invalid", "a conclusion must be about an account or a cluster")
    return RedirectResponse(address(kind, id=subject) + "#conclusions", 303)


def _dispose_members(
    service: Service, visitor: Visitor, members: Sequence[str], cluster: str, told: Disposing
) -> None:
    """Note the same of every account of a cluster, in one transaction."""
    tenant, actor = visitor.caller.tenant, visitor.caller.actor
    note, at_us = f"{told.note}\n(with cluster {cluster})".strip(), now_us()
    with service.database.write() as connection:
        for account in queries.briefly(connection, tenant, members):
            verdicts.dispose(
                connection,
                tenant,
                "account",
                account,
                disposition=told.disposition,
                note=note,
                actor=actor,
                at_us=at_us,
            )
            details = {"disposition": told.disposition, "with": cluster}
            trail.record(
                connection, tenant, actor=actor, action="account.dispose", account=account, details=details
            )
    for account in members:
        service.gateway.facts.forget(tenant, account)
