"""Figures of a student's report: intervals side by side, reliability, and the course of training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kdguard.report.distribution import Panel
from kdguard.report.svg import Scale, bottom_axis, drawing, element, ticks
from kdguard.report.words import count, visible

_WIDTH = 340
_LEFT, _RIGHT = 116, 326
ROLES = ("student", "teacher", "control")
Measured = Mapping[str, Any]
Row = tuple[str, Mapping[str, Measured | None]]
"""What is measured, and the measurement of each role: `value`, and `low` and `high` where it has an interval."""


def interval_panel(title: str, rows: Sequence[Row], *, note: str = "", most: float | None = None) -> Panel:
    """Draw values with their intervals, a line a measurement and a mark a role.

    Args:
        title: Heading.
        rows: In order; roles without a measurement are left out.
        note: A line under the drawing.
        most: Right end of the scale; by default the largest bound.
    """
    told = [one for _, roles in rows for one in roles.values() if one is not None]
    high = (
        most if most is not None else max([float(one.get("high", one["value"])) for one in told], default=1.0)
    )
    x = Scale(0.0, high or 1.0, _LEFT, _RIGHT)
    marks: list[Markup] = []
    y = 10.0
    for name, roles in rows:
        shown = [(role, roles[role]) for role in ROLES if roles.get(role) is not None]
        middle = y + 5 * max(len(shown) - 1, 0) + 4
        marks.append(
            element("text", visible(name, 18), x=_LEFT - 10, y=middle, text_anchor="end", class_="name")
        )
        for role, one in shown:
            assert one is not None
            marks += _mark(name, role, one, x, y)
            y += 10
        y += 12
    axis = bottom_axis(x, y - 6, ticks(0.0, high or 1.0, 4))
    return Panel(title, note, drawing(_WIDTH, y + 18, title, *marks, axis, class_="plot"))


def _mark(name: str, role: str, one: Measured, x: Scale, y: float) -> list[Markup]:
    value = float(one["value"])
    told = f"{name}, {role}: {value:.3g}"
    parts = []
    if one.get("low") is not None:
        low, high = float(one["low"]), float(one["high"])
        told += f" ({low:.3g} to {high:.3g}, 95 %)"
        parts.append(element("line", x1=x(low), x2=x(high), y1=y, y2=y, class_=f"range {role}"))
    parts.append(element("circle", element("title", told), cx=x(value), cy=y, r=3.6, class_=f"point {role}"))
    return parts


def reliability_panel(title: str, calibration: Measured | None) -> Panel | None:
    """Draw how often predictions are right against how sure they were; the size of a mark is its share."""
    if calibration is None:
        return None
    x, y = Scale(0.0, 1.0, 34, _RIGHT), Scale(0.0, 1.0, 162, 30)
    total = max(int(calibration["n"]), 1)
    marks = [element("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="diagonal")]
    for one in calibration["bins"]:
        words = f"sure {one['confidence']:.2f}, right {one['right']:.2f}, {one['n']:,} predictions"
        radius = 2 + 8 * math.sqrt(one["n"] / total)
        marks.append(
            element(
                "circle",
                element("title", words),
                cx=x(float(one["confidence"])),
                cy=y(float(one["right"])),
                r=radius,
                class_="share",
            )
        )
    axis = bottom_axis(x, 162, [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], "how sure")
    corner = element("text", "how often right", x=34, y=12, class_="name")
    note = f"expected calibration error {calibration['ece']:.3f} over {count(total, 'prediction')}"
    return Panel(title, note, drawing(_WIDTH, 200, title, *marks, corner, axis, class_="plot"))


def loss_panel(history: Sequence[Measured]) -> Panel | None:
    """Draw the losses at every report of the training."""
    if len(history) < 2:
        return None
    steps = [float(one["step"]) for one in history]
    series = {name: [float(one[name]) for one in history] for name in ("text", "soft")}
    drawn = {name: values for name, values in series.items() if any(values)}
    finite = [value for values in drawn.values() for value in values if math.isfinite(value)]
    low, high = min([0.0, *finite]), max(finite, default=1.0)
    x, y = Scale(0.0, steps[-1], 40, _RIGHT), Scale(low, high or 1.0, 162, 12)
    marks = []
    for value in ticks(low, high or 1.0, 4):
        marks.append(element("line", x1=40, x2=_RIGHT, y1=y(value), y2=y(value), class_="grid"))
        marks.append(element("text", f"{value:g}", x=34, y=y(value) + 4, text_anchor="end"))
    for name, values in drawn.items():
        points = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in zip(steps, values, strict=True))
        marks.append(element("polyline", element("title", name), points=points, class_=f"curve {name}"))
    axis = bottom_axis(x, 162, ticks(0.0, steps[-1], 5), "optimiser step")
    words = {"text": "text (blue)", "soft": "teacher (orange)"}
    note = "mean loss since the report before, nats: " + " and ".join(words[name] for name in drawn)
    return Panel("Training", note, drawing(_WIDTH, 200, "Training", *marks, axis, class_="plot"))
