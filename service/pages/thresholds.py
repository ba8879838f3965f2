"""How the service is set, and what other levels would have sent to review."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from kdguard.service.api import administration, baselines
from kdguard.service.api.access import Serving
from kdguard.service.api.state import Service
from kdguard.service.pages import figures, queries
from kdguard.service.pages.rendering import PageRoute, page
from kdguard.service.pages.sessions import Looking, Visitor
from kdguard.service.store import trail
from kdguard.service.store.api_keys import now_us

router = APIRouter(prefix="/pages", route_class=PageRoute, include_in_schema=False)

LEVELS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
_SHOWN = (
    "alpha", "fdr", "dry_run", "retain_days", "hold_hours", "signal_days", "refresh_s", "groups_s", "decision_ms",
    "requests_per_minute", "most_backlog_bytes", "most_body_bytes", "scores", "private_webhooks",
)  # fmt: skip


@router.get("/settings")
def get_settings(
    request: Request,
    visitor: Looking,
    service: Serving,
    alpha: Annotated[float | None, Query(gt=0, le=0.5)] = None,
) -> Response:
    """Levels and other settings, a back-test of alpha, baselines, keys."""
    chosen = service.settings.alpha if alpha is None else alpha
    with service.database.read() as connection:
        tenant = visitor.caller.tenant
        ranked = queries.count_ranked(connection, tenant)
        strata = queries.strata_at(connection, tenant, chosen)
        counts = dict(zip(LEVELS, queries.counts_at(connection, tenant, LEVELS), strict=True))
        counts[chosen] = sum(count for _, count in strata)
        disposed = queries.disposed(connection, tenant)
    described = _described(type(service.settings).__doc__ or "")
    return page(
        request,
        "settings.html.j2",
        visitor=visitor,
        current="settings",
        back_test=back_test(ranked, counts, disposed, chosen),
        strata=strata,
        disposed=Counter(said for said, _ in disposed),
        in_force=service.settings.alpha,
        settings=[
            (name, _words(getattr(service.settings, name)), described.get(name, "")) for name in _SHOWN
        ],
        baselines=baselines.list_baselines(visitor.caller, service),
        keys=administration.list_keys(visitor.caller, service) if "admin" in visitor.caller.scopes else None,
        now_us=now_us(),
    )


@router.get("/exclusions.txt", response_class=PlainTextResponse)
def get_exclusions(visitor: Looking, service: Serving) -> Response:
    """Confirmed accounts, one a line, for `kdguard baseline --exclude`; that it was read stands in the trail."""
    _record(visitor, service)
    response = baselines.list_exclusions(visitor.caller, service)
    response.headers["content-disposition"] = 'attachment; filename="exclusions.txt"'
    return response


def back_test(
    ranked: int,
    counts: Mapping[float, int],
    disposed: Sequence[tuple[str, float | None]],
    chosen: float,
) -> dict[str, Any] | None:
    """What each level sends to review; None where nobody has a p-value.

    Args:
        ranked: Accounts with a p-value.
        counts: Accounts with a p-value at most each level.
        disposed: What persons said, with the p-value.
        chosen: One of these levels.
    """
    if not ranked:
        return None

    def said(words: str, level: float) -> int:
        return sum(one == words and p is not None and p <= level for one, p in disposed)

    levels = sorted(counts.items())
    return {
        "chosen": chosen,
        "ranked": ranked,
        "reviewed": counts[chosen],
        "expected": chosen * ranked,
        "table": [
            (level, number, level * ranked, said("confirmed", level), said("benign", level))
            for level, number in levels
        ],
        "figure": figures.levels(levels, chosen, ranked),
    }


def _record(visitor: Visitor, service: Service) -> None:
    with service.database.write() as connection:
        trail.record(connection, visitor.caller.tenant, actor=visitor.caller.actor, action="exclusions.read")


def _words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _described(docstring: str) -> dict[str, str]:
    """What the settings say of themselves, by name."""
    found = re.findall(r"^ {8}([a-z_, ]+): (.+)$", docstring, flags=re.MULTILINE)
    return {name: words.replace("`", "") for names, words in found for name in names.split(", ")}
