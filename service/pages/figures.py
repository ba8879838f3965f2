"""Figures of the pages, drawn as SVG: an account's timeline, and how many accounts each level sends to review."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from markupsafe import Markup

from kdguard.report.svg import Scale, drawing, element
from kdguard.report.words import count, visible
from kdguard.service.pages.activity import HOUR_S, Activity

_WIDTH, _HEIGHT = 720, 170
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 712, 34, 132
_LABELS = 7
_MOST_MARKS = 12


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at a moment: `kind` is release, alarm or change."""

    at_us: int
    kind: str
    label: str


def timeline(activity: Activity, marks: Sequence[Mark]) -> Markup:
    """Draw requests over time, the suspicious share filled, and what happened meanwhile.

    Args:
        activity: Counts by bin.
        marks: What happened; those outside the period are left out, and at most a dozen are drawn.
    """
    x = Scale(0.0, float(len(activity.requests)), _LEFT, _RIGHT)
    tallest = max(activity.requests)
    y = Scale(0.0, float(tallest), _BOTTOM, _TOP)
    bars = [
        _bars(values, x, y, name)
        for values, name in ((activity.requests, "calm"), (activity.suspicious, "doubt"))
    ]
    unit = "hour" if activity.bin_s == HOUR_S else "day"
    label = (
        f"{count(sum(activity.requests), 'request')} over time, {sum(activity.suspicious):,} suspicious, "
        f"at most {tallest:,} per {unit}"
    )
    shown = [(mark, x(place)) for mark, place in _within(activity, marks)][:_MOST_MARKS]
    return drawing(
        _WIDTH,
        _HEIGHT,
        label,
        *bars,
        element("line", x1=_LEFT, x2=_RIGHT, y1=_BOTTOM, y2=_BOTTOM, class_="axis"),
        *(
            element("text", f"{value:,}", x=_LEFT - 6, y=y(value) + 4, text_anchor="end")
            for value in sorted({0, tallest})
        ),
        *(part for at, (mark, place) in enumerate(shown) for part in _mark(mark, place, at)),
        *_dates(activity, x),
        class_="plot timeline",
    )


def _bars(values: Sequence[int], x: Scale, y: Scale, name: str) -> Markup:
    width = max((x(1.0) - x(0.0)) * 0.84, 0.8)
    path = "".join(
        f"M{x(at + 0.08):.1f},{_BOTTOM}v-{max(_BOTTOM - y(value), 1.0):.1f}h{width:.1f}V{_BOTTOM}z"
        for at, value in enumerate(values)
        if value
    )
    return element("path", d=path, class_=name) if path else Markup("")


def _within(activity: Activity, marks: Sequence[Mark]) -> list[tuple[Mark, float]]:
    placed = [(mark, mark.at_us / 1e6 / activity.bin_s - activity.first) for mark in marks]
    return sorted(
        ((mark, place) for mark, place in placed if 0 <= place <= len(activity.requests)),
        key=lambda pair: pair[1],
    )


def _mark(mark: Mark, x: float, at: int) -> tuple[Markup, ...]:
    row = _TOP - 8 - 12 * (at % 2)  # neighbours do not write over each other
    side = "end" if x > _WIDTH - 130 else "start"
    return (
        element(
            "line",
            element("title", mark.label),
            x1=x,
            x2=x,
            y1=row - 8,
            y2=_BOTTOM,
            class_=f"mark {mark.kind}",
        ),
        element(
            "text",
            visible(mark.label, 28),
            x=x + (-3 if side == "end" else 3),
            y=row,
            text_anchor=side,
            class_="name",
        ),
    )


def _dates(activity: Activity, x: Scale) -> list[Markup]:
    bins = len(activity.requests)
    step = max(1, math.ceil(bins / _LABELS))
    shape = "%d %b %H:%M" if activity.bin_s == HOUR_S else "%d %b"
    return [
        element(
            "text",
            datetime.fromtimestamp((activity.first + at) * activity.bin_s, UTC).strftime(shape),
            x=x(at),
            y=_BOTTOM + 18,
            text_anchor="start",
        )
        for at in range(0, bins, step)
    ]


def levels(points: Sequence[tuple[float, int]], chosen: float, ranked: int) -> Markup:
    """Draw how many accounts have p at most each level, against how many chance alone gives if all are innocent.

    Args:
        points: Level and number of accounts, ascending.
        chosen: The level to mark.
        ranked: Accounts with a p-value.
    """
    low, high = math.log10(points[0][0]), math.log10(points[-1][0])
    x = Scale(low, high, _LEFT, _RIGHT)
    most = max(*(number for _, number in points), ranked * points[-1][0], 1)
    y = Scale(0.0, math.sqrt(most), _BOTTOM, 12)
    curve = _path([(x(math.log10(level)), y(math.sqrt(number))) for level, number in points])
    chance = _path([(x(math.log10(level)), y(math.sqrt(ranked * level))) for level, _ in points])
    here = x(math.log10(chosen))
    label = (
        f"Accounts sent to review at alpha from {points[0][0]:g} to {points[-1][0]:g}, and by chance alone"
    )
    return drawing(
        _WIDTH,
        _HEIGHT,
        label,
        element("path", element("title", "by chance, if all are innocent"), d=chance, class_="chance"),
        element("path", element("title", "accounts with p at most the level"), d=curve, class_="curve"),
        element(
            "line",
            element("title", f"alpha = {chosen:g}"),
            x1=here,
            x2=here,
            y1=8,
            y2=_BOTTOM,
            class_="limit",
        ),
        element("line", x1=_LEFT, x2=_RIGHT, y1=_BOTTOM, y2=_BOTTOM, class_="axis"),
        *(
            element("text", f"{level:g}", x=x(math.log10(level)), y=_BOTTOM + 18, text_anchor="middle")
            for level, _ in points
            if level in _SHOWN
        ),
        *(
            element("text", f"{value:,.0f}", x=_LEFT - 6, y=y(math.sqrt(value)) + 4, text_anchor="end")
            for value in sorted({0.0, most / 4, float(most)})
        ),
        element("text", "alpha", x=_RIGHT, y=_BOTTOM + 33, text_anchor="end", class_="name"),
        class_="plot",
    )


_SHOWN = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points)


def microseconds(text: str) -> int | None:
    """An RFC 3339 time as microseconds since 1970; None for anything else."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1e6)


def told_time(body: str) -> int | None:
    """When a registration says that something happened: its member `time`."""
    told = orjson.loads(body).get("time")
    return microseconds(told) if isinstance(told, str) else None
