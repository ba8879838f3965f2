"""API keys, webhooks, registrations and the audit trail."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Body, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from kdguard.service.api.access import Admin, Auditor, Reader, Serving, doorkeeper_of
from kdguard.service.api.paging import Limit
from kdguard.service.api.problems import RESPONSES, Problem
from kdguard.service.api.settings import Scope
from kdguard.service.out import webhooks
from kdguard.service.store import registrations, trail
from kdguard.service.store.api_keys import SCOPES, ApiKey, end_key, keys_of, make_key, now_us

router = APIRouter(tags=["administration"], responses=RESPONSES)

Id = Annotated[str, Path(pattern="^[0-9a-f]{16,32}$")]


class KeyAsk(BaseModel):
    """A key to be made, for the caller's own tenant."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "gateway eu-1", "scopes": ["ingest", "decide"]}]},
    )

    name: str = Field(min_length=1, max_length=200, pattern=r"^[ -~]+$", examples=["gateway eu-1"])
    scopes: list[Scope] = Field(min_length=1, max_length=len(SCOPES))
    expires_us: int | None = Field(None, gt=0, le=2**62, description="Microseconds since 1970.")
    requests_per_minute: int | None = Field(None, gt=0, le=10_000_000)


class KeyTold(BaseModel):
    """What is kept of a key."""

    id: str
    name: str
    scopes: list[str]
    created_us: int
    expires_us: int | None
    revoked_us: int | None
    requests_per_minute: int | None


class KeyMade(KeyTold):
    """A key that was made: the only time it is shown."""

    key: str = Field(examples=["kdg_0123456789abcdef_..."])


class Rotation(BaseModel):
    """For how long the old key goes on working."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"overlap_s": 3_600}]})

    overlap_s: int = Field(3_600, ge=0, le=30 * 86_400)


class WebhookAsk(BaseModel):
    """A webhook to be registered."""

    model_config = ConfigDict(extra="forbid")

    url: str = Field(max_length=2000, examples=["https://siem.example.com/kdguard"])
    events: list[Literal["verdict.changed"]] = Field(default=["verdict.changed"], min_length=1, max_length=1)


class WebhookMade(BaseModel):
    """A webhook and its secret: the only time it is shown."""

    id: str
    secret: str


class TrailPage(BaseModel):
    """Entries, the newest first."""

    items: list[dict[str, Any]]
    next: int | None = Field(description="Give it as `before` for the next page.")


class TrailVerified(BaseModel):
    """What a verification of the whole trail found."""

    entries: int
    broken_at: int | None
    head: str = Field(description="Note it elsewhere: a trail whose end is cut off shows only against it.")


class Registration(BaseModel):
    """What is registered under a name."""

    kind: str
    name: str
    at_us: int
    body: dict[str, Any]


@router.post("/v1/keys", status_code=201)
def post_key(asked: KeyAsk, caller: Admin, service: Serving) -> KeyMade:
    """Make a key; it is shown now and never again."""
    with service.database.write() as connection:
        key, made = make_key(
            connection,
            service.secrets,
            tenant=caller.tenant,
            name=asked.name,
            scopes=asked.scopes,
            expires_us=asked.expires_us,
            requests_per_minute=asked.requests_per_minute,
        )
        details = {"scopes": sorted(asked.scopes)}
        trail.record(
            connection, caller.tenant, actor=caller.actor, action="key.make", subject=made.id, details=details
        )
    return KeyMade(**_told(made), key=key)


@router.get("/v1/keys")
def list_keys(caller: Admin, service: Serving) -> list[KeyTold]:
    """The tenant's keys, without the keys."""
    with service.database.read() as connection:
        return [KeyTold(**_told(key)) for key in keys_of(connection, caller.tenant)]


@router.post("/v1/keys/{key_id}/rotate", status_code=201)
def rotate_key(key_id: Id, asked: Rotation, caller: Admin, service: Serving) -> KeyMade:
    """Make a key like another, which ends after the overlap."""
    with service.database.write() as connection:
        old = next((key for key in keys_of(connection, caller.tenant) if key.id == key_id), None)
        if old is None or not old.usable(now_us()):
            raise Problem(404, "not-found", "there is no such usable key")
        key, made = make_key(
            connection,
            service.secrets,
            tenant=caller.tenant,
            name=old.name,
            scopes=old.scopes,
            expires_us=old.expires_us,
            requests_per_minute=old.requests_per_minute,
        )
        end_key(connection, caller.tenant, key_id, now_us() + asked.overlap_s * 1_000_000)
        details = {"made": made.id, "overlap_s": asked.overlap_s}
        trail.record(
            connection,
            caller.tenant,
            actor=caller.actor,
            action="key.rotate",
            subject=key_id,
            details=details,
        )
    return KeyMade(**_told(made), key=key)


@router.delete("/v1/keys/{key_id}", status_code=204)
def delete_key(key_id: Id, request: Request, caller: Admin, service: Serving) -> None:
    """End a key now; other processes may believe it for two seconds more."""
    with service.database.write() as connection:
        if not end_key(connection, caller.tenant, key_id, now_us()):
            raise Problem(404, "not-found", "there is no such key")
        trail.record(connection, caller.tenant, actor=caller.actor, action="key.end", subject=key_id)
    doorkeeper_of(request).forget()


@router.post("/v1/webhooks", status_code=201)
def post_webhook(asked: WebhookAsk, caller: Admin, service: Serving) -> WebhookMade:
    """Register a webhook; its secret is shown now and never again."""
    with service.database.write() as connection:
        made, secret = webhooks.make_webhook(
            connection,
            service.secrets,
            caller.tenant,
            asked.url,
            asked.events,
            allow_private=service.settings.private_webhooks,
        )
        trail.record(connection, caller.tenant, actor=caller.actor, action="webhook.make", subject=made)
    return WebhookMade(id=made, secret=secret)


@router.get("/v1/webhooks")
def list_webhooks(caller: Admin, service: Serving) -> list[dict[str, Any]]:
    """The tenant's webhooks."""
    with service.database.read() as connection:
        return webhooks.webhooks_of(connection, caller.tenant)


@router.get("/v1/webhooks/{webhook}/deliveries")
def list_deliveries(webhook: Id, caller: Admin, service: Serving) -> list[dict[str, Any]]:
    """What was sent to a webhook, the newest first."""
    with service.database.read() as connection:
        return webhooks.deliveries_of(connection, caller.tenant, webhook)


@router.delete("/v1/webhooks/{webhook}", status_code=204)
def delete_webhook(webhook: Id, caller: Admin, service: Serving) -> None:
    """Remove a webhook, and what waits to be sent to it."""
    with service.database.write() as connection:
        if not webhooks.drop_webhook(connection, caller.tenant, webhook):
            raise Problem(404, "not-found", "there is no such webhook")
        trail.record(connection, caller.tenant, actor=caller.actor, action="webhook.drop", subject=webhook)


@router.put("/v1/registrations/{kind}/{name}")
def put_registration(
    kind: Literal["model_release"],
    name: Annotated[str, Path(pattern=r"^[A-Za-z0-9._-]{1,100}$")],
    body: Annotated[dict[str, Any], Body(examples=[{"time": "2026-11-01T00:00:00Z", "model": "m-large-2"}])],
    caller: Admin,
    service: Serving,
) -> Registration:
    """Register the release of a model, by name; marks have routes of their own."""
    try:
        text = orjson.dumps(body).decode()
    except orjson.JSONEncodeError as error:
        raise Problem(
            422, "invalid", f"the body must be JSON of Unicode and 64-bit numbers: {error}"
        ) from error
    if "\\u0000" in text:
        raise Problem(422, "invalid", "a text must hold no NUL")
    with service.database.write() as connection:
        told = registrations.put(connection, caller.tenant, kind, name, body)
        trail.record(
            connection, caller.tenant, actor=caller.actor, action="registration.put", subject=f"{kind}/{name}"
        )
    return Registration(**told)


@router.get("/v1/registrations/{kind}")
def list_registrations(
    kind: Literal["model_release"], caller: Reader, service: Serving
) -> list[Registration]:
    """What is registered of a kind."""
    with service.database.read() as connection:
        return [Registration(**told) for told in registrations.listed(connection, caller.tenant, [kind])]


@router.get("/v1/audit")
def list_trail(
    caller: Auditor,
    service: Serving,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
    limit: Limit = 50,
) -> TrailPage:
    """Who saw and did what, the newest first."""
    with service.database.read() as connection:
        rows = trail.entries(connection, caller.tenant, before=before, limit=limit)
    return TrailPage(items=rows, next=rows[-1]["sequence"] if len(rows) == limit else None)


@router.get("/v1/audit/verify")
def verify_trail(caller: Auditor, service: Serving) -> TrailVerified:
    """Check every link of the trail."""
    with service.database.read() as connection:
        return TrailVerified.model_validate(trail.verify(connection, caller.tenant), from_attributes=True)


def _told(key: ApiKey) -> dict[str, Any]:
    kept = {name: getattr(key, name) for name in KeyTold.model_fields if name != "scopes"}
    return kept | {"scopes": sorted(key.scopes)}
