"""Ranked accounts and clusters: filters, sorting, what changed, a page at a time."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from starlette.responses import Response

from kdguard.report.words import guarantee_words
from kdguard.service.api.access import Serving
from kdguard.service.api.paging import cursor_of, place_of
from kdguard.service.api.state import Service
from kdguard.service.api.subjects import Kind
from kdguard.service.live.clusters import load_clusters
from kdguard.service.pages import queries
from kdguard.service.pages.rendering import PageRoute, address, page
from kdguard.service.pages.sessions import Looking, Visitor
from kdguard.service.store import verdicts
from kdguard.service.store.listing import SORTS, Filter, list_verdicts
from kdguard.verdict import Decision, GuaranteeState

router = APIRouter(prefix="/pages", route_class=PageRoute, include_in_schema=False)

ROWS = 50
_EMPTY = BeforeValidator(
    lambda value: None if value == "" else value
)  # a form sends what is not filled in as ""


class Asked(BaseModel):
    """What a list is asked for; fields are what its form sends."""

    model_config = ConfigDict(extra="ignore")

    decision: Annotated[Decision | None, _EMPTY] = None
    disposition: Annotated[Literal["confirmed", "benign", "watch", "none"] | None, _EMPTY] = None
    stratum: Annotated[str | None, _EMPTY] = Field(None, max_length=200)
    prefix: Annotated[str | None, _EMPTY] = Field(None, max_length=200)
    least: Annotated[int | None, _EMPTY] = Field(None, ge=0, le=2**53)
    changed: Annotated[Literal["1"] | None, _EMPTY] = None
    sort: Literal["rank", "requests", "changed"] = "rank"
    cursor: Annotated[str | None, _EMPTY] = Field(None, max_length=4096)

    def fields(self) -> dict[str, Any]:
        """As fields of a link, without the place in the list."""
        return {**self.model_dump(mode="json", exclude={"cursor", "sort"}), "sort": _named(self.sort)}


@router.get("/accounts")
def get_accounts(
    request: Request, visitor: Looking, service: Serving, asked: Annotated[Asked, Query()]
) -> Response:
    """Accounts, the most suspicious first."""
    return _list(request, visitor, service, "account", asked)


@router.get("/clusters")
def get_clusters(
    request: Request, visitor: Looking, service: Serving, asked: Annotated[Asked, Query()]
) -> Response:
    """Clusters, the most suspicious first."""
    return _list(request, visitor, service, "cluster", asked)


def _list(request: Request, visitor: Visitor, service: Service, kind: Kind, asked: Asked) -> Response:
    tenant, since_us = visitor.caller.tenant, visitor.session.since_us
    wanted = Filter(
        kind=kind,
        decision=None if asked.decision is None else asked.decision.value,
        disposition=asked.disposition,
        stratum=asked.stratum,
        prefix=asked.prefix,
        least_requests=asked.least,
        changed_since_us=(since_us or 0) if asked.changed else None,
    )
    about = f"pages {tenant} {kind} {asked.sort}"
    after = place_of(service.secrets, about, asked.cursor)
    with service.database.read() as connection:
        rows = list_verdicts(connection, tenant, wanted, sort=asked.sort, after=after, limit=ROWS + 1)
        changed = None if since_us is None else queries.count_changed(connection, tenant, kind, since_us)
        summary = verdicts.summary_of(connection, tenant)
    items = rows[:ROWS]
    last = [getattr(items[-1], SORTS[asked.sort][0]), items[-1].subject] if len(rows) > ROWS else None
    path, fields = f"{kind}s", asked.fields()
    return page(
        request,
        "list.html.j2",
        visitor=visitor,
        current=path,
        kind=kind,
        asked=asked,
        items=items,
        since_us=since_us,
        changed=changed,
        most_counted=queries.MOST_COUNTED,
        overview=overview(summary),
        looked_us=load_clusters(service.folder(tenant)).looked_us if kind == "cluster" else None,
        filtered=any(value for name, value in fields.items() if name != "sort"),
        here=address(path, **fields),
        sorts={name: address(path, **(fields | {"sort": _named(name)})) for name in SORTS},
        first=address(path, **fields) if asked.cursor else None,
        onward=address(path, **fields, cursor=cursor_of(service.secrets, about, last)) if last else None,
    )


def overview(summary: dict[str, Any] | None) -> dict[str, Any] | None:
    """The latest look at all accounts in words and counts; None before the first."""
    if summary is None or not summary["summary"].get("accounts"):
        return None
    told = summary["summary"]
    title, words = guarantee_words(GuaranteeState(told["guarantee_state"]))
    return {
        "at_us": summary["at_us"],
        "counts": {decision.value: told["decisions"].get(decision.value, 0) for decision in Decision},
        "accounts": told["accounts"],
        "exchanges": told.get("exchanges", 0),
        "groups": told.get("groups_reported", 0),
        "groups_tested": told.get("groups_tested"),
        "state": told["guarantee_state"],
        "title": title,
        "words": words,
        "innocent": told.get("expected_innocent_reviews"),
        "alpha": told.get("alpha"),
    }


def _named(sort: str) -> str | None:
    return None if sort == "rank" else sort
