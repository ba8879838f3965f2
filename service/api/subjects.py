"""Out: accounts and clusters, their evidence and timeline, dispositions, findings for a SIEM."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from kdguard.service.api.access import Caller, Reader, Serving
from kdguard.service.api.paging import Limit, cursor_of, place_of
from kdguard.service.api.problems import RESPONSES, Problem
from kdguard.service.api.state import Service
from kdguard.service.live.exhibits import exhibits
from kdguard.service.out.findings import findings_as
from kdguard.service.store import trail, verdicts
from kdguard.service.store.accounts import account_facts
from kdguard.service.store.api_keys import now_us
from kdguard.service.store.listing import SORTS, Filter, list_verdicts
from kdguard.verdict import Decision

router = APIRouter(tags=["subjects"], responses=RESPONSES)

Kind = Literal["account", "cluster"]
Disposition = Literal["confirmed", "benign", "watch"]
AccountId = Annotated[str, Path(min_length=1, max_length=1024, description="Account id, percent-encoded.")]


class Listed(BaseModel):
    """One subject of a list."""

    subject: str = Field(examples=["acct-42"])
    decision: Decision
    p_value: float | None
    score: float | None
    requests: int
    stratum: str
    changed_us: int = Field(description="When the decision last changed, microseconds since 1970.")
    before: str | None = Field(description="The decision before that.")
    disposition: str | None


class Page(BaseModel):
    """A page of subjects."""

    items: list[Listed]
    next: str | None = Field(description="Give it as `cursor` for the next page; null at the end.")


class Detail(BaseModel):
    """Everything that is kept of one subject; `verdict` is its line of `kdguard score --json`."""

    verdict: dict[str, Any]
    changed_us: int
    before: str | None
    disposition: str | None
    facts: dict[str, Any] | None
    dispositions: list[dict[str, Any]]


class Timeline(BaseModel):
    """How the decision went, newest first."""

    changes: list[dict[str, Any]]


class Exhibits(BaseModel):
    """Requests that evidence rests on."""

    requests: list[str]
    texts: list[dict[str, Any]]
    why_no_text: str | None


class Disposing(BaseModel):
    """What a person concludes."""

    disposition: Disposition = Field(examples=["benign"])
    note: str = Field("", max_length=4000)


@router.get("/v1/summary")
def get_summary(caller: Reader, service: Serving) -> dict[str, Any]:
    """The closing line of the latest look at all accounts."""
    with service.database.read() as connection:
        told = verdicts.summary_of(connection, caller.tenant)
    if told is None:
        raise Problem(404, "not-found", "nothing was scored yet")
    return told


class ListAsk(BaseModel):
    """Which subjects a list holds, and in which order."""

    model_config = ConfigDict(extra="forbid")

    decision: Decision | None = None
    disposition: Literal["confirmed", "benign", "watch", "none"] | None = None
    stratum: str | None = Field(None, max_length=200, description="Beginning of the stratum.")
    prefix: str | None = Field(None, max_length=200, description="Beginning of the id.")
    changed_since_us: int | None = Field(None, ge=0, le=2**62)
    sort: Literal["rank", "requests", "changed"] = "rank"
    cursor: str | None = Field(None, max_length=4096, description="`next` of the page before.")
    limit: int = Field(50, ge=1, le=500)


@router.get("/v1/accounts")
def list_accounts(caller: Reader, service: Serving, asked: Annotated[ListAsk, Query()]) -> Page:
    """Accounts, the most suspicious first."""
    return _page(service, caller, "account", asked)


@router.get("/v1/clusters")
def list_clusters(caller: Reader, service: Serving, asked: Annotated[ListAsk, Query()]) -> Page:
    """Clusters, the most suspicious first."""
    return _page(service, caller, "cluster", asked)


@router.get("/v1/accounts/{account_id:path}/timeline")
def account_timeline(account_id: AccountId, caller: Reader, service: Serving) -> Timeline:
    """How the verdict on an account went."""
    return _timeline(service, caller, "account", account_id)


@router.get("/v1/clusters/{cluster_id}/timeline")
def cluster_timeline(cluster_id: AccountId, caller: Reader, service: Serving) -> Timeline:
    """How the verdict on a cluster went."""
    return _timeline(service, caller, "cluster", cluster_id)


@router.get("/v1/accounts/{account_id:path}/exhibits")
def account_exhibits(account_id: AccountId, caller: Reader, service: Serving) -> Exhibits:
    """The requests that the evidence names; their text too where retention is on, needing the scope `audit`."""
    evidence = _detail(service, caller, "account", account_id).verdict["evidence"]
    requests = list(dict.fromkeys(request for item in evidence for request in item["exhibits"]))
    if not service.settings.retain_days:
        why = "retention is off, so texts are erased after scoring; set retain_days to keep them"
        return Exhibits(requests=requests, texts=[], why_no_text=why)
    if "audit" not in caller.scopes:
        return Exhibits(requests=requests, texts=[], why_no_text="texts need a key with the scope 'audit'")
    with service.database.write() as connection:
        _record(connection, caller, "account", account_id, "read_texts", {"requests": len(requests)})
    inbox = service.inbox(caller.tenant)
    texts = exhibits(inbox.folders.journal, inbox.keys, caller.tenant, account_id, requests)
    return Exhibits(requests=requests, texts=texts, why_no_text=None)


@router.post("/v1/accounts/{account_id:path}/dispositions", status_code=201)
def dispose_account(account_id: AccountId, told: Disposing, caller: Reader, service: Serving) -> Detail:
    """Note what a person concluded; needs the scope `decide` too."""
    return _dispose(service, caller, "account", account_id, told)


@router.post("/v1/clusters/{cluster_id}/dispositions", status_code=201)
def dispose_cluster(cluster_id: AccountId, told: Disposing, caller: Reader, service: Serving) -> Detail:
    """Note what a person concluded; needs the scope `decide` too."""
    return _dispose(service, caller, "cluster", cluster_id, told)


@router.get("/v1/accounts/{account_id:path}")
def get_account(account_id: AccountId, caller: Reader, service: Serving) -> Detail:
    """One account's verdict with its evidence; that it was looked at stands in the audit trail."""
    return _detail(service, caller, "account", account_id)


@router.get("/v1/clusters/{cluster_id}")
def get_cluster(cluster_id: AccountId, caller: Reader, service: Serving) -> Detail:
    """One cluster's verdict with its evidence; that it was looked at stands in the audit trail."""
    return _detail(service, caller, "cluster", cluster_id)


@router.get("/v1/findings", response_class=Response)
def get_findings(
    caller: Reader, service: Serving, format: Literal["ocsf", "ecs", "stix"] = "ocsf", limit: Limit = 500
) -> Response:
    """Flags and reviews for a SIEM: OCSF Detection Findings, ECS alerts, or a STIX 2.1 bundle."""
    with service.database.read() as connection:
        bodies = []
        for decision in ("flag", "review"):
            for kind in ("cluster", "account"):
                wanted = Filter(kind=kind, decision=decision)
                rows = list_verdicts(connection, caller.tenant, wanted, limit=limit)
                found = [verdicts.verdict_of(connection, caller.tenant, kind, row.subject) for row in rows]
                bodies += [orjson.loads(row.body) for row in found if row is not None]
        summary = verdicts.summary_of(connection, caller.tenant)
    told = findings_as(format, bodies[:limit], summary["summary"] if summary else {}, now_us() // 1_000)
    return Response(orjson.dumps(told), media_type="application/json")


def _page(service: Service, caller: Caller, kind: Kind, asked: ListAsk) -> Page:
    wanted = Filter(
        kind=kind,
        decision=None if asked.decision is None else asked.decision.value,
        disposition=asked.disposition,
        stratum=_storable(asked.stratum),
        prefix=_storable(asked.prefix),
        changed_since_us=asked.changed_since_us,
    )
    about = f"{caller.tenant} {kind} {asked.sort}"
    after = place_of(service.secrets, about, asked.cursor)
    with service.database.read() as connection:
        rows = list_verdicts(
            connection,
            caller.tenant,
            wanted,
            sort=asked.sort,
            after=after,
            limit=asked.limit + 1,
        )
    items, column = rows[: asked.limit], SORTS[asked.sort][0]
    last = [getattr(items[-1], column), items[-1].subject] if len(rows) > asked.limit else None
    return Page(
        items=[Listed.model_validate(row, from_attributes=True) for row in items],
        next=cursor_of(service.secrets, about, last) if last else None,
    )


def _detail(service: Service, caller: Caller, kind: Kind, subject: str) -> Detail:
    _storable(subject)
    with service.database.write() as connection:
        row = verdicts.verdict_of(connection, caller.tenant, kind, subject)
        if row is None:
            raise Problem(404, "not-found", f"there is no verdict on such {kind}")
        _record(connection, caller, kind, subject, "read")
        facts = account_facts(connection, caller.tenant, subject) if kind == "account" else None
        dispositions = verdicts.dispositions_of(connection, caller.tenant, kind, subject)
    return Detail(
        verdict=orjson.loads(row.body),
        changed_us=row.changed_us,
        before=row.before,
        disposition=row.disposition,
        facts=facts,
        dispositions=dispositions,
    )


def _timeline(service: Service, caller: Caller, kind: Kind, subject: str) -> Timeline:
    _storable(subject)
    with service.database.read() as connection:
        if verdicts.verdict_of(connection, caller.tenant, kind, subject) is None:
            raise Problem(404, "not-found", f"there is no verdict on such {kind}")
        return Timeline(changes=verdicts.changes_of(connection, caller.tenant, kind, subject))


def _dispose(service: Service, caller: Caller, kind: Kind, subject: str, told: Disposing) -> Detail:
    if "decide" not in caller.scopes:
        raise Problem(403, "scope", "this route needs a key with the scope 'decide'")
    _storable(subject)
    note = _storable(told.note) or ""
    with service.database.write() as connection:
        if verdicts.verdict_of(connection, caller.tenant, kind, subject) is None:
            raise Problem(404, "not-found", f"there is no verdict on such {kind}")
        verdicts.dispose(
            connection,
            caller.tenant,
            kind,
            subject,
            disposition=told.disposition,
            note=note,
            actor=caller.actor,
            at_us=now_us(),
        )
        _record(connection, caller, kind, subject, "dispose", {"disposition": told.disposition})
    service.gateway.facts.forget(caller.tenant, subject)
    return _detail(service, caller, kind, subject)


def _record(
    connection: Connection,
    caller: Caller,
    kind: Kind,
    subject: str,
    verb: str,
    details: dict[str, Any] | None = None,
) -> None:
    trail.record(
        connection,
        caller.tenant,
        actor=caller.actor,
        action=f"{kind}.{verb}",
        account=subject if kind == "account" else None,
        subject=subject if kind == "cluster" else None,
        details=details,
    )


def _storable(text: str | None) -> str | None:
    """A text as both databases can hold it.

    Raises:
        Problem: 422, it holds NUL or half a surrogate pair.
    """
    if text is not None and ("\0" in text or any("\ud800" <= character <= "\udfff" for character in text)):
        raise Problem(422, "invalid", "a text must hold no NUL and no lone surrogate")
    return text
