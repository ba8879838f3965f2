"""Figures of a lineage report: where a suspect stands among the controls, and how evidence grew with the queries."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from kdguard.report.distribution import Panel
from kdguard.report.svg import Scale, bottom_axis, drawing, element, ticks
from kdguard.report.words import count, p_words, visible

_WIDTH = 340
_LEFT, _RIGHT = 40, 326
_BETS_WON = 2.0  # log10 of 100 to 1


def standing_panel(verdict: Mapping[str, Any], alpha: float) -> Panel:
    """Draw the controls as marks on a line and the suspect among them; the line to pass is that of the level.

    Args:
        verdict: One verdict of the record, with its course and score.
        alpha: Level after correction for the families tested.
    """
    scores = [float(one) for one in verdict["course"]["scores"] if one is not None]
    names = [
        name
        for name, one in zip(verdict["course"]["controls"], verdict["course"]["scores"], strict=True)
        if one is not None
    ]
    own = float(verdict["score"])
    low, high = min([*scores, own]), max([*scores, own])
    margin = 0.05 * ((high - low) or 1.0)
    x = Scale(low - margin, high + margin, 14, _RIGHT)
    marks = [
        element(
            "circle",
            element("title", f"{visible(name)}: {score:.2f}"),
            cx=x(score),
            cy=70 + (at * 0.618034 % 1.0) * 44,  # golden ratio: spreads without chance
            r=2.6,
            class_="dot",
        )
        for at, (name, score) in enumerate(zip(names, scores, strict=True))
    ]
    as_high = sum(score >= own for score in scores)
    side = "end" if x(own) > _WIDTH * 0.6 else "start"
    offset = -7 if side == "end" else 7
    marks += _line_to_pass(scores, alpha, x)
    marks += [
        element("line", x1=x(own), x2=x(own), y1=26, y2=118, class_="own-line"),
        element(
            "text", visible(verdict["suspect"], 30), x=x(own) + offset, y=34, text_anchor=side, class_="own"
        ),
    ]
    stand = "stands" if as_high == 1 else "stand"
    note = f"{count(len(scores), 'control')}; {as_high} {stand} as high over all prompts"
    figure = drawing(
        _WIDTH, 160, note, *marks, bottom_axis(x, 122, ticks(low, high, 6), "score"), class_="plot"
    )
    return Panel("Among the controls", note, figure)


def _line_to_pass(scores: Sequence[float], alpha: float, x: Scale) -> list[Markup]:
    """The score of the lowest control that still has to be passed; none where no rank could be low enough."""
    allowed = math.floor(alpha * (len(scores) + 1) + 1e-9) - 1
    if allowed < 0:
        return []
    value = sorted(scores, reverse=True)[allowed] if allowed < len(scores) else min(scores)
    place = x(value)
    side = "end" if place > _WIDTH - 90 else "start"
    return [
        element("line", x1=place, x2=place, y1=46, y2=118, class_="limit"),
        element(
            "text",
            "to be passed",
            x=place + (-5 if side == "end" else 5),
            y=54,
            text_anchor=side,
            class_="name",
        ),
    ]


def queries_panel(verdict: Mapping[str, Any], alpha: float) -> Panel:
    """Draw the p-value at every look, on logarithmic scales, with the level and the floor that the controls impose."""
    looks, p_values = verdict["course"]["looks"], verdict["course"]["p_at_look"]
    floor = float(verdict["p_floor"])
    low = math.log10(min(floor, alpha)) - 0.3
    x, y = _looks_scale(looks), Scale(low, 0.0, 122, 14)
    points = [f"M{x(math.log2(looks[0])):.1f},{y(math.log10(p_values[0])):.1f}"]
    points += [
        f"H{x(math.log2(look)):.1f}V{y(math.log10(value)):.1f}"
        for look, value in zip(looks[1:], p_values[1:], strict=True)
    ]
    marks = [
        element("line", x1=_LEFT, x2=_RIGHT, y1=y(math.log10(floor)), y2=y(math.log10(floor)), class_="zero"),
        element("text", "floor", x=_LEFT + 3, y=y(math.log10(floor)) + 11, class_="name"),
        element(
            "line", x1=_LEFT, x2=_RIGHT, y1=y(math.log10(alpha)), y2=y(math.log10(alpha)), class_="limit"
        ),
        element("text", "level", x=_RIGHT, y=y(math.log10(alpha)) - 3, text_anchor="end", class_="name"),
        element("path", d="".join(points), class_="curve"),
        *(
            element(
                "circle",
                element("title", f"after {look:,} prompts: p = {p_words(value)}"),
                cx=x(math.log2(look)),
                cy=y(math.log10(value)),
                r=3.4,
                class_="mark",
            )
            for look, value in zip(looks, p_values, strict=True)
        ),
        *(
            element("text", f"{10.0**power:g}", x=_LEFT - 5, y=y(power) + 4, text_anchor="end")
            for power in range(math.ceil(low), 1)
        ),
    ]
    note = f"p = {p_words(p_values[-1])} after {looks[-1]:,} prompts; it may be stopped at any look"
    figure = drawing(_WIDTH, 160, note, *marks, _looks_axis(x, looks), class_="plot")
    return Panel("p against queries", note, figure)


def bet_panel(verdict: Mapping[str, Any]) -> Panel:
    """Draw the largest wealth of the margin bet up to every look."""
    looks, wealth = verdict["course"]["looks"], verdict["course"]["log10_e_at_look"]
    high = max(_BETS_WON + 0.3, *wealth)
    x, y = _looks_scale(looks), Scale(0.0, high, 122, 14)
    line = " ".join(
        f"{x(math.log2(look)):.1f},{y(value):.1f}" for look, value in zip(looks, wealth, strict=True)
    )
    marks = [
        element("line", x1=_LEFT, x2=_RIGHT, y1=y(_BETS_WON), y2=y(_BETS_WON), class_="limit"),
        element("text", "100 to 1", x=_RIGHT, y=y(_BETS_WON) - 3, text_anchor="end", class_="name"),
        element("polyline", points=line, class_="curve"),
        *(
            element(
                "circle",
                element("title", f"after {look:,} prompts: {10**value:.3g} to 1"),
                cx=x(math.log2(look)),
                cy=y(value),
                r=3.4,
                class_="mark",
            )
            for look, value in zip(looks, wealth, strict=True)
        ),
        *(
            element("text", f"{value:g}", x=_LEFT - 5, y=y(value) + 4, text_anchor="end")
            for value in ticks(0.0, high, 4)
        ),
    ]
    note = "log10 of the wealth of the margin bet; descriptive, it decides nothing"
    return Panel(
        "The bet beside it", note, drawing(_WIDTH, 160, note, *marks, _looks_axis(x, looks), class_="plot")
    )


def _looks_scale(looks: Sequence[int]) -> Scale:
    low, high = math.log2(looks[0]), math.log2(looks[-1])
    return Scale(low, high if high > low else low + 1.0, _LEFT + 8, _RIGHT - 8)


def _looks_axis(x: Scale, looks: Sequence[int]) -> Markup:
    """Prompts at each look, on a scale of their logarithms; the last stays, and what would touch it goes."""
    places = [(x(math.log2(look)), look) for look in looks]
    shown = [(place, look) for place, look in places[:-1] if places[-1][0] - place > 26] + places[-1:]
    marks = [element("line", x1=_LEFT, x2=_RIGHT, y1=122, y2=122, class_="axis")]
    for place, look in shown:
        marks.append(element("line", x1=place, x2=place, y1=122, y2=126, class_="axis"))
        marks.append(element("text", f"{look:,}", x=place, y=138, text_anchor="middle"))
    marks.append(element("text", "prompts", x=_RIGHT, y=153, text_anchor="end", class_="name"))
    return Markup("").join(marks)
