"""Lists of verdicts, a page at a time, each answered by an index however many subjects there are.

Databases choose an index by statistics, or without any; a wrong choice costs seconds at a million accounts. So the
choice is made here: a condition that few subjects fit is answered by its own index and the rows are sorted then;
otherwise rows are looked at in the order they are wanted in, which soon fills a page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, and_, func, select, tuple_, union_all

from kdguard.service.store.tables import DISPOSITIONS, VERDICTS

SORTS: Mapping[str, tuple[str, bool]] = {
    "rank": ("rank", False),
    "requests": ("requests", True),
    "changed": ("changed_us", True),
}
"""Columns a list can be sorted by, and whether the largest comes first."""
LISTED = [column for column in VERDICTS.c if column.name not in ("tenant", "body")]
FEW = 5_000
"""So many rows are found and sorted at once."""
_MOST_STRATA = 400  # SQLite joins at most 500 queries into one


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which verdicts a list holds; None = all.

    Attributes:
        kind: "account" or "cluster".
        decision: One decision.
        disposition: What a person said; "none" = nothing yet.
        stratum: Beginning of the stratum.
        prefix: Beginning of the subject's id.
        least_requests: Fewest requests.
        changed_since_us: Decisions that changed since.
    """

    kind: str
    decision: str | None = None
    disposition: str | None = None
    stratum: str | None = None
    prefix: str | None = None
    least_requests: int | None = None
    changed_since_us: int | None = None


def list_verdicts(
    connection: Connection,
    tenant: str,
    wanted: Filter,
    *,
    sort: str = "rank",
    after: Sequence[Any] | None = None,
    limit: int = 50,
) -> list[Row[Any]]:
    """A page of verdicts without their bodies.

    Args:
        connection: Where to ask.
        tenant: Whose.
        wanted: Which.
        sort: A key of `SORTS`.
        after: Sort value and subject of the last row of the page before.
        limit: Most rows.
    """
    strata: list[str] | None = None
    if wanted.stratum:
        strata = [one for one in strata_of(connection, tenant, wanted.kind) if one.startswith(wanted.stratum)]
        if not strata:
            return []
    name, falling = SORTS[sort]
    place: Sequence[ColumnElement[Any]] = (VERDICTS.c[name], VERDICTS.c.subject)
    mine = and_(VERDICTS.c.tenant == tenant, VERDICTS.c.kind == wanted.kind)
    conditions = _conditions(connection, tenant, wanted, strata)
    narrow = next((one for one in conditions if _few(connection, mine, one)), None)
    leading = narrow or _in_order(conditions, name)
    query = select(*LISTED).where(mine, *(one.without_index for one in conditions if one is not leading))
    if leading is not None:
        query = query.where(leading.indexed)
    if narrow is not None:
        place = (place[0] + 0, place[1])  # no index: few rows are sorted
    if after is not None:
        query = query.where(tuple_(*place) < tuple_(*after) if falling else tuple_(*place) > tuple_(*after))

    def ordered(one: Select[Any], by: Sequence[ColumnElement[Any]]) -> Select[Any]:
        return one.order_by(*(column.desc() if falling else column.asc() for column in by)).limit(limit)

    if strata is not None and leading is None and name == "rank" and len(strata) <= _MOST_STRATA:
        each = [ordered(query.where(VERDICTS.c.stratum == one), place).subquery() for one in strata]
        whole = union_all(*(select(one) for one in each)).subquery()
        query, place = select(whole), (whole.c.rank, whole.c.subject)
    return list(connection.execute(ordered(query, place)))


def strata_of(connection: Connection, tenant: str, kind: str) -> list[str]:
    """Every stratum that somebody is in: one step of an index each."""
    mine, stratum = and_(VERDICTS.c.tenant == tenant, VERDICTS.c.kind == kind), VERDICTS.c.stratum
    found = select(func.min(stratum).label("stratum")).where(mine).cte("strata", recursive=True)
    beyond = select(func.min(stratum)).where(mine, stratum > found.c.stratum).scalar_subquery()
    found = found.union_all(select(beyond).where(found.c.stratum.is_not(None)))
    rows = connection.execute(select(found.c.stratum).where(found.c.stratum.is_not(None)))
    return [str(row.stratum) for row in rows]


@dataclass(frozen=True, slots=True)
class _Condition:
    """A condition twice: as its index answers it, and as no index does.

    Attributes:
        column: What it is about.
        indexed, without_index: The two forms.
        has_index: Whether there is such an index.
    """

    column: str
    indexed: ColumnElement[bool]
    without_index: ColumnElement[bool]
    has_index: bool = True


def _conditions(
    connection: Connection, tenant: str, wanted: Filter, strata: Sequence[str] | None
) -> list[_Condition]:
    table = VERDICTS.c
    told: list[_Condition] = []
    if wanted.decision is not None:
        plain = table.decision + "" == wanted.decision
        told.append(_Condition("decision", table.decision == wanted.decision, plain))
    if wanted.disposition == "none":
        plain = table.disposition.is_(None)
        told.append(_Condition("disposition", plain, plain, has_index=False))
    elif wanted.disposition is not None:
        plain, said = table.disposition == wanted.disposition, DISPOSITIONS.c
        whose = and_(said.tenant == tenant, said.kind == wanted.kind, said.disposition == wanted.disposition)
        told.append(
            _Condition(
                "disposition", and_(plain, table.subject.in_(select(said.subject).where(whose))), plain
            )
        )
    if strata is not None:
        told.append(_Condition("stratum", table.stratum.in_(strata), (table.stratum + "").in_(strata)))
    if wanted.prefix:
        plain = func.substr(table.subject, 1, len(wanted.prefix)) == wanted.prefix
        beyond, subject = wanted.prefix + "\U0010ffff", table.subject
        if connection.dialect.name == "postgresql":  # plain comparisons there are those of a language
            within = and_(subject.op("~>=~")(wanted.prefix), subject.op("~<~")(beyond))
        else:
            within = and_(subject >= wanted.prefix, subject < beyond)
        told.append(_Condition("subject", within, plain))
    for name, least in (("requests", wanted.least_requests), ("changed_us", wanted.changed_since_us)):
        if least is not None:
            told.append(_Condition(name, table[name] >= least, table[name] + 0 >= least))
    return told


def _few(connection: Connection, mine: ColumnElement[bool], condition: _Condition) -> bool:
    if not condition.has_index:
        return False
    some = select(VERDICTS.c.subject).where(mine, condition.indexed).limit(FEW + 1).subquery()
    return int(connection.execute(select(func.count()).select_from(some)).scalar_one()) <= FEW


def _in_order(conditions: Sequence[_Condition], sorted_by: str) -> _Condition | None:
    """The condition whose index also has its rows in the order that is wanted."""
    fitting = {"rank": "decision"}.get(sorted_by, sorted_by)
    return next((one for one in conditions if one.column == fitting), None)
