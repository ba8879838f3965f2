"""Figures of calibration: scored accounts among benign references, and how their p-values spread."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kdguard.report.plots import (
    MAX_POINTS,
    AccountScore,
    Calibration,
    CalibrationCurve,
    ScoreDistribution,
    StratumScores,
)
from kdguard.report.svg import Scale, bottom_axis, drawing, element, ticks
from kdguard.report.words import count, stratum_words, visible

_WIDTH, _HEIGHT = 340, 200
_LEFT, _RIGHT = 10, 330
_ORDER = {"clear": 0, "abstain": 0, "review": 1, "flag": 2}  # drawn last lies on top


@dataclass(frozen=True, slots=True)
class Panel:
    """One small figure of a row: a heading, a line under it, the drawing."""

    title: str
    note: str
    figure: Markup


def score_panels(plot: ScoreDistribution, anchors: Mapping[str, str]) -> list[Panel]:
    """Draw one panel a stratum: the histogram of benign references, and the scored accounts under it.

    Args:
        plot: The contents of `plots["score_distribution"]`.
        anchors: Where on the page an account is described, by account id.
    """
    by_stratum: dict[str, list[AccountScore]] = {}
    for account in plot["accounts"][:MAX_POINTS]:
        by_stratum.setdefault(account["stratum"], []).append(account)
    return [_score_panel(item, by_stratum.get(item["stratum"], []), anchors) for item in plot["strata"]]


def _score_panel(item: StratumScores, accounts: Sequence[AccountScore], anchors: Mapping[str, str]) -> Panel:
    edges = [float(edge) for edge in item["edges"]]
    counts = [int(number) for number in item["counts"]]
    finite = [float(row["score"]) for row in accounts if math.isfinite(row["score"])]
    low = min([*edges[:1], *finite], default=0.0)
    high = max([*edges[-1:], *finite], default=1.0)
    x = Scale(low, high, _LEFT, _RIGHT)
    y = Scale(0.0, math.sqrt(max(counts, default=0) or 1), 112, 12)
    bars = [
        element(
            "rect",
            element("title", f"{number:,} references from {left:.2f} to {right:.2f}"),
            x=x(left),
            width=max(x(right) - x(left) - 0.6, 0.4),
            y=y(math.sqrt(number)),
            height=112 - y(math.sqrt(number)),
            class_="reference",
        )
        for left, right, number in zip(edges, edges[1:], counts, strict=False)
        if number
    ]
    threshold = item.get("threshold")
    limit = [] if threshold is None else _limit(x(float(threshold)), float(threshold))
    ranked = sorted(accounts, key=lambda row: _ORDER.get(row["decision"], 0))
    dots = [_dot(row, x(float(row["score"])), index, anchors) for index, row in enumerate(ranked)]
    label = f"{count(sum(counts), 'benign reference')} above, {count(len(accounts), 'scored account')} below"
    figure = drawing(
        _WIDTH,
        _HEIGHT,
        label,
        *bars,
        *limit,
        *dots,
        bottom_axis(x, 162, ticks(low, high, 6), "score"),
        class_="plot",
    )
    volume = item.get("volume")
    return Panel(
        stratum_words(item["stratum"]), f"{visible(volume, 60)} · {label}" if volume else label, figure
    )


def _limit(x: float, value: float) -> list[Markup]:
    side = "end" if x > _WIDTH - 70 else "start"
    return [
        element(
            "line", element("title", f"p = alpha at {value:.2f}"), x1=x, x2=x, y1=4, y2=160, class_="limit"
        ),
        element(
            "text", "p = alpha", x=x + (-4 if side == "end" else 4), y=13, text_anchor=side, class_="name"
        ),
    ]


def _dot(row: AccountScore, x: float, index: int, anchors: Mapping[str, str]) -> Markup:
    y = 122 + (index * 0.618034 % 1.0) * 32  # golden ratio: spreads without chance
    decision = row["decision"]
    name = visible(row["id"])
    strong = decision in ("flag", "review")
    mark = element(
        "circle",
        element("title", f"{name}: {row['score']:.2f}, {visible(decision, 20)}"),
        cx=x,
        cy=y,
        r=4.5 if decision == "flag" else 3.5 if strong else 2.2,
        class_=f"dot {decision}" if decision in _ORDER else "dot",
    )
    anchor = anchors.get(row["id"])
    return element("a", mark, href=f"#{anchor}", aria_label=name) if anchor and strong else mark


def points_left_out(plot: ScoreDistribution) -> int:
    """Return how many scored accounts have no point: those the caller left out, and those past the limit."""
    return int(plot.get("left_out", 0)) + max(len(plot["accounts"]) - MAX_POINTS, 0)


def calibration_panels(plot: Calibration) -> list[Panel]:
    """Draw one panel a stratum: the p-values of scored accounts against the uniform diagonal."""
    return [_calibration_panel(curve) for curve in plot["strata"]]


def _calibration_panel(curve: CalibrationCurve) -> Panel:
    x = Scale(0.0, 1.0, 34, _RIGHT)
    y = Scale(0.0, 1.0, 162, 8)
    accounts = max(int(curve["accounts"]), 1)
    half = math.sqrt(math.log(2 / 0.05) / (2 * accounts))  # Dvoretzky-Kiefer-Wolfowitz, 95 %
    corners = [(0.0, half), (1.0 - half, 1.0), (1.0, 1.0), (1.0, 1.0 - half), (half, 0.0), (0.0, 0.0)]
    band = " ".join(f"{x(px):.1f},{y(py):.1f}" for px, py in corners)
    points = [f"M{x(0.0):.1f},{y(0.0):.1f}"]
    points += [
        f"H{x(float(p)):.1f}V{y(float(cdf)):.1f}" for p, cdf in zip(curve["p"], curve["cdf"], strict=True)
    ]
    points.append(f"H{x(1.0):.1f}")
    words = {
        "stable": "no drift found in the bulk",
        "drifting": "drift found: guarantee suspended",
        "too_few": "too few verified accounts to test for drift",
    }[curve["drift"]]
    drift_p = curve.get("drift_p")
    note = f"{count(int(curve['accounts']), 'account')}; {words}" + (
        "" if drift_p is None else f" (p = {drift_p:.2g})"
    )
    figure = drawing(
        _WIDTH,
        _HEIGHT,
        note,
        element("polygon", points=band, class_="band"),
        element("line", x1=x(0), y1=y(0), x2=x(1), y2=y(1), class_="diagonal"),
        element("rect", x=x(0), width=x(0.1) - x(0), y=y(1), height=y(0) - y(1), class_="tail"),
        element("path", d="".join(points), class_=f"curve {curve['drift']}"),
        *[element("text", f"{v:g}", x=28, y=y(v) + 4, text_anchor="end") for v in (0.0, 0.5, 1.0)],
        bottom_axis(x, 162, [0.0, 0.1, 0.5, 1.0], "p-value"),
        class_="plot",
    )
    return Panel(stratum_words(curve["stratum"]), note, figure)
