"""How the service is set, and what other levels would have sent to review."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import PlainTextResponse, Response

from kdguard.service.api import administration, uploads
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
    "alpha", "fdr", "dry_run", "retain_days", "hold_hours", "refresh_s", "groups_s", "decision_ms",
    "requests_per_minute", "most_backlog_bytes", "most_body_bytes", "scores", "private_webhooks",
)  # fmt: skip


@router.get("/settings")
def get_settings(
    request: Request,
    visitor: Looking,
    service: Serving,
    alpha: Annotated[float | None, Query(gt=0, lt=1)] = None,
) -> Response:
    """Levels and other settings, a back-test of alpha, baselines, keys."""
    chosen = service.settings.alpha if alpha is None else alpha
    levels = sorted({*LEVELS, chosen})
    with service.database.read() as connection:
        rows = queries.counts_at(connection, visitor.caller.tenant, levels)
        disposed = queries.count_disposed(connection, visitor.caller.tenant)
    described = _described(type(service.settings).__doc__ or "")
    return page(
        request,
        "settings.html.j2",
        visitor=visitor,
        current="settings",
        back_test=back_test(rows, levels, chosen),
        disposed=disposed,
        in_force=service.settings.alpha,
        settings=[
            (name, _words(getattr(service.settings, name)), described.get(name, "")) for name in _SHOWN
        ],
        baselines=uploads.list_baselines(visitor.caller, service),
        keys=administration.list_keys(visitor.caller, service) if "admin" in visitor.caller.scopes else None,
        now_us=now_us(),
    )


@router.get("/exclusions.txt", response_class=PlainTextResponse)
def get_exclusions(visitor: Looking, service: Serving) -> Response:
    """Confirmed accounts, one a line, for `kdguard baseline --exclude`; that it was read stands in the trail."""
    _record(visitor, service)
    response = uploads.list_exclusions(visitor.caller, service)
    response.headers["content-disposition"] = 'attachment; filename="exclusions.txt"'
    return response


def back_test(rows: Sequence[Any], levels: Sequence[float], chosen: float) -> dict[str, Any] | None:
    """What each level sends to review; None where nobody has a p-value.

    Args:
        rows: Of `queries.counts_at`.
        levels: Ascending.
        chosen: One of them.
    """
    ranked = sum(row.ranked for row in rows)
    if not ranked:
        return None

    def total(name: str, at: int) -> int:
        return sum(getattr(row, f"{name}_{at}") or 0 for row in rows)

    at = list(levels).index(chosen)
    table = [
        (level, total("level", place), level * ranked, total("confirmed", place), total("benign", place))
        for place, level in enumerate(levels)
    ]
    strata = [
        (row.stratum, row.ranked, getattr(row, f"level_{at}") or 0, chosen * row.ranked) for row in rows
    ]
    return {
        "chosen": chosen,
        "ranked": ranked,
        "reviewed": table[at][1],
        "expected": table[at][2],
        "table": table,
        "strata": [row for row in strata if row[1]],
        "figure": figures.levels([(level, number) for level, number, *_ in table], chosen, ranked),
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
