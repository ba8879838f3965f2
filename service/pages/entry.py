"""Signing in with an API key or a token of the issuer, signing out, and marking what changed as seen."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from kdguard.service.api.access import Serving, doorkeeper_of, refusal
from kdguard.service.api.state import Service, service_of
from kdguard.service.api.tokens import RefusedToken
from kdguard.service.pages.queries import last_look
from kdguard.service.pages.rendering import PageRoute, page
from kdguard.service.pages.sessions import (
    Form,
    Looking,
    Session,
    begin,
    begin_as,
    give,
    session_of,
    take,
    token_of,
)
from kdguard.service.store import trail
from kdguard.service.store.api_keys import ApiKey, now_us

router = APIRouter(prefix="/pages", route_class=PageRoute, include_in_schema=False)

START = "/pages/accounts"
_MOST_CREDENTIAL = 8_192


@router.get("/sign-in")
def get_sign_in(request: Request, next: str = START) -> Response:
    """The form; whoever asks gets a session without rights, whose token the form carries."""
    return _form(request, session_of(request) or begin(), next)


@router.post("/sign-in")
def post_sign_in(request: Request, service: Serving, fields: Form) -> Response:
    """Sign in; a key is looked up and a token read as for programs, and neither is kept."""
    session, onward = session_of(request) or begin(), _onward(fields.get("next", ""))
    credential = fields.get("key", "").strip()[:_MOST_CREDENTIAL]
    try:
        key = doorkeeper_of(request).identify(service, credential)
    except RefusedToken as refused:
        return _form(request, session, onward, 401, f"{refusal(request, refused).detail}.")
    if key is None or not key.usable(now_us()):
        return _form(
            request, session, onward, 401, "This is no usable key. Paste it whole: it begins with kdg_."
        )
    if "read" not in key.scopes:
        complaint = "This may not read; pages need a key with the scope 'read', or a token that grants it."
        return _form(request, session, onward, 403, complaint)
    response = RedirectResponse(onward, 303)
    give(request, response, _begun(service, key))
    return response


@router.post("/sign-out")
def post_sign_out(service: Serving, visitor: Looking, fields: Form) -> Response:
    """End the session in this browser."""
    _record(service, visitor.caller.tenant, visitor.caller.actor, "session.end")
    response = RedirectResponse("/pages/sign-in", 303)
    take(response)
    return response


@router.post("/seen")
def post_seen(request: Request, service: Serving, visitor: Looking, fields: Form) -> Response:
    """Let what changes from now on count as new."""
    _record(service, visitor.caller.tenant, visitor.caller.actor, "session.seen")
    response = RedirectResponse(_onward(fields.get("next", "")), 303)
    give(request, response, replace(visitor.session, since_us=now_us(), seen_us=now_us()))
    return response


def _begun(service: Service, key: ApiKey) -> Session:
    with service.database.write() as connection:
        since_us = last_look(connection, key.tenant, key.id)
        trail.record(connection, key.tenant, actor=key.id, action="session.begin")
    return begin_as(key, since_us=since_us)


def _record(service: Service, tenant: str, actor: str, action: str) -> None:
    with service.database.write() as connection:
        trail.record(connection, tenant, actor=actor, action=action)


def _form(
    request: Request, session: Session, onward: str, status: int = 200, complaint: str = ""
) -> Response:
    token = token_of(service_of(request).secrets, session)
    told: dict[str, Any] = {"next": _onward(onward), "complaint": complaint, "current": "", "token": token}
    told["takes_tokens"] = doorkeeper_of(request).tokens is not None
    response = page(request, "sign_in.html.j2", status, **told)
    give(request, response, session)
    return response


def _onward(path: str) -> str:
    """Where to go next: one of our pages and nowhere else."""
    ours = path == "/pages" or path.startswith(("/pages/", "/pages?"))
    odd = "\\" in path or "//" in path or any(ord(character) < 33 for character in path)
    return path if ours and not odd else START
