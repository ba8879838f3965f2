"""Just enough SVG: escaped elements, a linear scale and round ticks.

Drawn by hand because a report's marks are links and carry tooltips, follow the reader's colour scheme through
classes, and print; a charting runtime gives static colours and 84 MB.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape


def element(name: str, *children: Markup | str, **attributes: object) -> Markup:
    """Return one element; children and attribute values are escaped unless they are `Markup`.

    A trailing underscore is dropped (`class_`), an inner one becomes a hyphen; None leaves an attribute out.
    Finite numbers are written with at most two decimals.
    """
    written = Markup("").join(
        Markup(' {}="{}"').format(Markup(key.rstrip("_").replace("_", "-")), _number(value))
        for key, value in attributes.items()
        if value is not None
    )
    inner = Markup("").join(escape(child) for child in children)
    tag = Markup(name)
    return Markup("<{}{}>{}</{}>").format(tag, written, inner, tag)


def _number(value: object) -> object:
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".") if math.isfinite(value) else "0"
    return value


def drawing(width: float, height: float, label: str, *children: Markup, class_: str = "") -> Markup:
    """Return an `<svg>` that scales to its container, with a label for readers who cannot see it."""
    return element(
        "svg",
        element("title", label),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=label,
        class_=class_ or None,
    )


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from data to pixels; values outside the data range are clamped to its ends."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        span = self.high - self.low
        share = 0.5 if span <= 0 or math.isnan(value) else (value - self.low) / span
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers (1, 2 or 5 times a power of ten) covering [low, high], about so many."""
    span = high - low
    if not math.isfinite(span) or span <= 0:
        return [low] if math.isfinite(low) else []
    raw = span / max(about, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(power * factor for factor in (1, 2, 5, 10) if raw <= power * factor * 1.4)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(index * step, 10) for index in range(first, last + 1)]


def bottom_axis(scale: Scale, y: float, values: Sequence[float], label: str = "") -> Markup:
    """Return a baseline with ticks and their numbers under a plot, and an optional name at its right end."""
    marks = [element("line", x1=scale.start, x2=scale.stop, y1=y, y2=y, class_="axis")]
    for value in values:
        x = scale(value)
        marks.append(element("line", x1=x, x2=x, y1=y, y2=y + 4, class_="axis"))
        marks.append(
            element("text", f"{value:g}".replace("-", "\u2212"), x=x, y=y + 16, text_anchor="middle")
        )
    if label:
        marks.append(element("text", label, x=scale.stop, y=y + 31, text_anchor="end", class_="name"))
    return Markup("").join(marks)
