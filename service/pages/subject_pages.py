"""One account or one cluster: why it stands where it does, what it did, and who is tied to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, cast

import duckdb
import orjson
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from kdguard.report.cards import Card, card
from kdguard.report.graph import draw
from kdguard.report.plots import Plots
from kdguard.report.saved import load
from kdguard.service.api import subjects
from kdguard.service.api.access import Serving
from kdguard.service.api.state import Service
from kdguard.service.api.subjects import Detail
from kdguard.service.live.baselines import active_digest
from kdguard.service.pages import activity, figures, queries
from kdguard.service.pages.exhibits import redacted
from kdguard.service.pages.figures import Mark
from kdguard.service.pages.rendering import PageRoute, page
from kdguard.service.pages.sessions import Looking, Visitor
from kdguard.service.store import verdicts
from kdguard.verdict import Verdict

router = APIRouter(prefix="/pages", route_class=PageRoute, include_in_schema=False)

MOST_MEMBERS = 200
_MOST_SHOWN = 20_000
"""Characters of one text of an exhibit."""
Id = Annotated[str, Query(max_length=1024)]
Text = Literal["no", "redacted", "full"]


@router.get("/account")
def get_account(
    request: Request,
    visitor: Looking,
    service: Serving,
    id: Id,
    text: Text = "no",
) -> Response:
    """One account; that it was looked at, and its texts, stands in the audit trail."""
    detail = subjects.get_account(id, visitor.caller, service)
    verdict = load(orjson.dumps(detail.verdict)).verdicts[0]
    changes = subjects.account_timeline(id, visitor.caller, service).changes
    folders = service.inbox(visitor.caller.tenant).folders
    with service.database.read() as connection:
        tenant, digest = visitor.caller.tenant, active_digest(connection, visitor.caller.tenant)
        linked = queries.same_owner(connection, tenant, detail.facts) if detail.facts else []
        known = queries.briefly(connection, tenant, [row.account_id for row in linked])
        released = queries.releases(connection, tenant)
        summary = verdicts.summary_of(connection, tenant)
    plots = cast(Plots, activity.contributions_of(folders.baselines, digest))
    marks = [*_alarm(verdict), *_changes(changes), *_releases(released)]
    told = card(verdict, {} if summary is None else summary["summary"], plots, {})
    return page(
        request,
        "account.html.j2",
        visitor=visitor,
        current="accounts",
        **_common(verdict, detail, told, changes, visitor),
        **_timeline(service, visitor.caller.tenant, digest, id, marks),
        linked=linked,
        known=known,
        exhibits=_exhibits(service, visitor, id, text),
        text=text,
        named=named_requests(verdict),
        has_ranges=bool(plots),
    )


@router.get("/cluster")
def get_cluster(request: Request, visitor: Looking, service: Serving, id: Id) -> Response:
    """One cluster: its graph, what its accounts share, and its members."""
    detail = subjects.get_cluster(id, visitor.caller, service)
    verdict = load(orjson.dumps(detail.verdict)).verdicts[0]
    changes = subjects.cluster_timeline(id, visitor.caller, service).changes
    tenant, folders = visitor.caller.tenant, service.inbox(visitor.caller.tenant).folders
    with service.database.read() as connection:
        digest, members = active_digest(connection, tenant), list(verdict.members)
        known = queries.briefly(connection, tenant, members)
        records = queries.records_of(connection, tenant, members[: activity.MOST_MEMBERS])
        summary = verdicts.summary_of(connection, tenant)
    baseline = activity.baseline_of(folders.baselines, digest)
    key = service.secrets.derived(f"marks {tenant}")
    try:
        graph = draw(activity.graph_of(folders.signals(digest), baseline, id, members, known, records, key))
    except duckdb.Error:
        graph = None
    told = card(verdict, {} if summary is None else summary["summary"], {}, {})
    return page(
        request,
        "cluster.html.j2",
        visitor=visitor,
        current="clusters",
        **_common(verdict, detail, told, changes, visitor),
        graph=graph,
        known=known,
        members=members[:MOST_MEMBERS],
    )


def _common(
    verdict: Verdict, detail: Detail, told: Card, changes: Sequence[dict[str, Any]], visitor: Visitor
) -> dict[str, Any]:
    return {
        "verdict": verdict,
        "detail": detail,
        "card": told,
        "changes": changes,
        "may_decide": "decide" in visitor.caller.scopes,
    }


def named_requests(verdict: Verdict) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Requests that evidence names, each once, with what is said of them: (sentences, ids)."""
    reasons: dict[str, list[str]] = {}
    for item in verdict.evidence:
        for request in item.exhibits:
            reasons.setdefault(request, []).append(item.summary)
    told: dict[tuple[str, ...], list[str]] = {}
    for request, said in reasons.items():
        told.setdefault(tuple(said), []).append(request)
    return [(said, tuple(requests)) for said, requests in told.items()]


def _timeline(
    service: Service, tenant: str, digest: str, account: str, marks: Sequence[Mark]
) -> dict[str, Any]:
    folder = service.inbox(tenant).folders.signals(digest)
    try:
        found = activity.activity_of(folder, account)
    except duckdb.Error:
        return {"timeline": None, "why_no_timeline": "The signals are being rearranged; reload this page."}
    if found is None:
        return {"timeline": None, "why_no_timeline": "No request of this account has a usable time."}
    return {"timeline": figures.timeline(found, marks), "why_no_timeline": ""}


def _alarm(verdict: Verdict) -> list[Mark]:
    alarm = verdict.first_alarm
    at_us = None if alarm is None or alarm.time is None else figures.microseconds(alarm.time)
    return [] if at_us is None else [Mark(at_us, "alarm", "first alarm")]


def _changes(changes: Sequence[dict[str, Any]]) -> list[Mark]:
    return [Mark(one["at_us"], "change", f"now {one['after']}") for one in changes]


def _releases(rows: Sequence[Any]) -> list[Mark]:
    """A release is where its registration says `time`, else when it was registered."""
    told = [(figures.told_time(row.body), row) for row in rows]
    return [Mark(row.at_us if at_us is None else at_us, "release", row.name) for at_us, row in told]


def _exhibits(service: Service, visitor: Visitor, account: str, text: Text) -> dict[str, Any]:
    """Request ids always; texts where they are kept, the visitor may see them and asked for them."""
    if text == "no" or not service.settings.retain_days:
        return {"retained": bool(service.settings.retain_days), "texts": {}, "why": None}
    told = subjects.account_exhibits(account, visitor.caller, service)
    texts = {
        row["request_id"]: [_shown(row, name, text) for name in _SAID if row.get(name)] for row in told.texts
    }
    return {"retained": True, "texts": texts, "why": told.why_no_text}


_SAID = ("system", "prompt", "reasoning", "response")


def _shown(row: dict[str, Any], name: str, text: Text) -> tuple[str, str]:
    said = str(row[name])[:_MOST_SHOWN]
    return name, redacted(said) if text == "redacted" else said
