"""Figures of one account: its evidence against benign accounts, and its activity."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from kdguard.evidence import Evidence
from kdguard.report.plots import DetectorReference, Plots, Timeline, TimelineRow
from kdguard.report.svg import Scale, element
from kdguard.report.words import count, number_words, visible


@dataclass(frozen=True, slots=True)
class Strip:
    """One detector's line on a card.

    Attributes:
        title: The detector in words.
        detector: Its name and version.
        guarantee: Why the number may be believed.
        value: Its contribution to the fused score, written out.
        place: Where that lies among benign references, in words; empty where they are unknown.
        figure: The drawing.
        summary: The detector's own sentence.
        exhibits: Request ids to open first.
        telling: Worth its sentence: among the two largest, beyond 95 % of benign, or without a reference.
    """

    title: str
    detector: str
    guarantee: str
    value: str
    place: str
    figure: Markup
    summary: str
    exhibits: tuple[str, ...]
    telling: bool


def evidence_strips(
    evidence: Sequence[Evidence], plots: Plots, stratum: str, limit: int = 6, exhibits: int = 4
) -> list[Strip]:
    """Draw the largest contributions of one subject on a common scale; what rounds to nothing has no bar.

    Args:
        evidence: What the detectors said, largest contribution first.
        plots: The numbers behind the report; only `contributions` is read.
        stratum: The strata compared against, joined by "|", the deciding one first.
        limit: Detectors drawn.
        exhibits: Request ids kept per detector.
    """
    known = _references(plots, stratum.split("|")[0])
    shown = [item for item in evidence if abs(item.contribution) >= LEAST_DRAWN][:limit]
    quantiles = [q for item in shown for q in known.get(item.detector, _NONE)["quantiles"]]
    values = [0.0, *(item.contribution for item in shown), *(float(q) for q in quantiles)]
    scale = Scale(min(values), max([*values, min(values) + 1e-6]), 8, 292)
    return [
        _strip(item, known.get(item.detector, _NONE), scale, exhibits, first=index < 2)
        for index, item in enumerate(shown)
    ]


LEAST_DRAWN = 0.005
_NONE: DetectorReference = {"detector": "", "quantiles": ()}


def _references(plots: Plots, stratum: str) -> Mapping[str, DetectorReference]:
    found: dict[str, DetectorReference] = {}
    for item in plots.get("contributions", {"detectors": ()})["detectors"]:
        of = item.get("stratum")
        if of == stratum or (of is None and item["detector"] not in found):
            found[item["detector"]] = item
    return found


def _strip(
    item: Evidence, reference: DetectorReference, scale: Scale, exhibits: int, *, first: bool
) -> Strip:
    q = [float(value) for value in reference["quantiles"]]
    place = _place(item.contribution, q)
    zero, here = scale(0.0), scale(item.contribution)
    title = visible(reference.get("title") or _title(item.detector), 90)
    outside = " far" if len(q) == 7 and item.contribution > q[5] else ""
    label = f"{title}: contributes {number_words(item.contribution)}" + (f", {place}" if place else "")
    marks = [element("title", label)]
    if len(q) == 7:
        marks += [
            element(
                "rect", x=scale(q[0]), width=max(scale(q[6]) - scale(q[0]), 1), y=7, height=6, class_="q98"
            ),
            element(
                "rect", x=scale(q[1]), width=max(scale(q[5]) - scale(q[1]), 1), y=5, height=10, class_="q90"
            ),
            element(
                "rect", x=scale(q[2]), width=max(scale(q[4]) - scale(q[2]), 1), y=5, height=10, class_="q50"
            ),
            element("line", x1=scale(q[3]), x2=scale(q[3]), y1=3, y2=17, class_="median"),
        ]
    marks += [
        element("line", x1=zero, x2=here, y1=10, y2=10, class_=f"stem{outside}"),
        element("line", x1=zero, x2=zero, y1=1, y2=19, class_="zero"),
        element("circle", cx=here, cy=10, r=5, class_=f"head{outside}"),
    ]
    return Strip(
        title,
        f"{visible(item.detector, 60)} {visible(item.version, 20)}",
        item.guarantee.value,
        number_words(item.contribution),
        place,
        element("svg", *marks, viewBox="0 0 300 20", role="img", aria_label=label, class_="strip"),
        visible(item.summary, 600),
        item.exhibits[:exhibits],
        first or len(q) != 7 or item.contribution > q[5],
    )


def _title(detector: str) -> str:
    """`mixture_tail.focus` as "Mixture tail: focus"; what groups show goes without the family's name."""
    words = detector.removeprefix("coordination.").replace(".", ": ").replace("_", " ")
    return words[:1].upper() + words[1:]


def _place(value: float, quantiles: Sequence[float]) -> str:
    if len(quantiles) != 7:
        return ""
    names = ("1\u00a0%", "5\u00a0%", "25\u00a0%", "50\u00a0%", "75\u00a0%", "95\u00a0%", "99\u00a0%")
    above = sum(value > q for q in quantiles)
    return f"above {names[above - 1]} of benign" if above else "within the lowest 1\u00a0% of benign"


@dataclass(frozen=True, slots=True)
class Activity:
    """One account's row of the timeline: a drawing, and the totals in words."""

    account: str
    figure: Markup
    total: str
    alarm: str | None


def bin_starts(timeline: Timeline) -> tuple[dt.datetime, dt.timedelta, int]:
    """Return when the first bin begins, how wide bins are, and how many the longest row has.

    Raises:
        ValueError: `start` is no RFC 3339 time.
    """
    start = moment(timeline["start"])
    width = dt.timedelta(hours=1) if timeline["unit"] == "hour" else dt.timedelta(days=1)
    return start, width, max((len(row["requests"]) for row in timeline["accounts"]), default=0)


def moment(text: str) -> dt.datetime:
    """Read an RFC 3339 time; without a zone it is taken as UTC."""
    parsed = dt.datetime.fromisoformat(text)
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)


def activity(row: TimelineRow, timeline: Timeline) -> Activity:
    """Draw one account's requests per bin, the suspicious share filled, the first alarm marked."""
    start, width, bins = bin_starts(timeline)
    requests = [int(number) for number in row["requests"]]
    suspicious = row.get("suspicious")
    doubted = [0] * len(requests) if suspicious is None else [int(number) for number in suspicious]
    tall = Scale(0.0, float(max([*requests, 1])), 0.0, 22.0)
    calm = "".join(_bar(i, max(tall(v), 1.2)) for i, v in enumerate(requests) if v)
    doubt = "".join(
        _bar(i, tall(min(d, v))) for i, (v, d) in enumerate(zip(requests, doubted, strict=True)) if d
    )
    marks = [
        element("path", d=path, class_=name) for path, name in ((calm, "calm"), (doubt, "doubt")) if path
    ]
    alarm = row.get("first_alarm")
    if alarm:
        at = (moment(alarm) - start) / width
        if 0 <= at <= bins:
            marks.append(
                element("line", element("title", "first alarm"), x1=at, x2=at, y1=0, y2=24, class_="alarm")
            )
    total = f"{sum(requests):,}" if suspicious is None else f"{sum(doubted):,} of {sum(requests):,}"
    label = f"{count(sum(requests), 'request')}, at most {max([*requests, 0]):,} per {timeline['unit']}"
    figure = element(
        "svg",
        element("title", label),
        *marks,
        viewBox=f"0 0 {max(bins, 1)} 24",
        preserveAspectRatio="none",
        role="img",
        aria_label=label,
        class_="activity",
        data_n=",".join(map(str, requests)),
        data_s=None if suspicious is None else ",".join(map(str, doubted)),
    )
    return Activity(row["account"], figure, total, alarm)


def _bar(index: int, height: float) -> str:
    return f"M{index + 0.08:g},24v-{height:.1f}h.84v{height:.1f}z"


def axis_labels(timeline: Timeline, about: int = 6) -> list[tuple[float, str]]:
    """Return positions (percent from the left) and dates for the axis over the activity rows."""
    start, width, bins = bin_starts(timeline)
    step = max(1, -(-bins // about))
    pattern = "%d %b %H:%M" if timeline["unit"] == "hour" else "%d %b"
    return [(100 * index / bins, (start + index * width).strftime(pattern)) for index in range(0, bins, step)]


def event_marks(timeline: Timeline) -> list[tuple[float, str]]:
    """Return positions (percent) and labels of the events that happened to everybody."""
    start, width, bins = bin_starts(timeline)
    at = [
        ((moment(e["time"]) - start) / width / max(bins, 1), e["label"]) for e in timeline.get("events", ())
    ]
    return [(100 * share, visible(label, 60)) for share, label in at if 0 <= share <= 1]
