"""The page of a student's evaluation: one self-contained document from the saved report; no network, no clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kdguard.errors import InputError
from kdguard.report.distribution import Panel
from kdguard.report.environment import environment
from kdguard.report.student_figures import ROLES, interval_panel, loss_panel, reliability_panel
from kdguard.report.words import NOTHING, visible

SCHEMA_VERSION = 1
Report = Mapping[str, Any]
_SHARES = {"top_1": "next token", "sequence": "whole answer", "label": "label", "refusal": "refusal"}


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table: a heading a column, and rows of cells as they are shown."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def render_student(report: Report, *, title: str = "What the student took") -> str:
    """Write the page of one evaluation.

    Args:
        report: As `kdguard.distill.evaluate` makes and saves it.
        title: Heading of the page.

    Returns:
        A whole HTML document that opens from disk, prints, and asks the network for nothing.

    Raises:
        InputError: No such report, or one of a later version.
    """
    if report.get("kind") != "student_evaluation" or report.get("schema_version", 99) > SCHEMA_VERSION:
        raise InputError(
            f"must be a student's evaluation of schema_version at most {SCHEMA_VERSION}, got "
            f"{report.get('kind')!r}, {report.get('schema_version')!r}"
        )
    return (
        environment()
        .get_template("student.html.j2")
        .render(
            title=title,
            lead=lead(report),
            roles=[role for role in ROLES if role in report["models"]],
            sections=_sections(report),
            setting=_setting(report),
        )
    )


def lead(report: Report) -> str:
    """The first sentence: how alike, and whether that is more than an untaught model is."""
    inside = (report.get("agreement") or {}).get("in_distribution")
    if not inside or not inside["student"]["top_1"]:
        return "There is no teacher to compare with: this page tells what the student can do by itself."
    mine = inside["student"]["top_1"]
    told = f"The student picks its teacher's next token {mine['value']:.0%} of the time"
    control = inside.get("control")
    if not control or not control["top_1"]:
        return (
            told + ". Without an untaught control nobody can say how much of that it learnt from the teacher."
        )
    theirs = control["top_1"]
    told += f", an untaught control {theirs['value']:.0%}"
    if mine["low"] > theirs["high"]:
        return told + ": more, and the intervals do not overlap."
    return told + ": the intervals overlap, so this test does not tell them apart."


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    anchor: str
    title: str
    words: str
    panels: tuple[Panel, ...] = ()
    sheets: tuple[Sheet, ...] = ()


def _sections(report: Report) -> list[Section]:
    made = [
        _likeness(report),
        _ability(report),
        _calibration(report),
        _refusals(report),
        _cost(report),
    ]
    return [section for section in made if section.panels or section.sheets]


def _likeness(report: Report) -> Section:
    parts = report.get("agreement") or {}
    places = {"in_distribution": "in distribution", "out_of_distribution": "out of distribution"}
    known = [(words, parts[key]) for key, words in places.items() if parts.get(key)]
    panels = [_agreement(part, words) for words, part in known] + [
        _distance(part, words) for words, part in known
    ]
    words = (
        "Share of prompts, or of tokens of the teacher's own answers, on which a model agrees with the teacher; 95 % "
        "intervals over prompts. "
    )
    if report.get("vocabulary") == "overlap":
        words += (
            "The two read different tokens: compared where both follow the same bytes, over shared tokens. "
        )
    return Section("likeness", "Like its teacher", words, tuple(panels), (_perplexity(report),))


def _agreement(part: Report, words: str) -> Panel:
    shares = [(name, {role: part[role][one] for role in part}) for one, name in _SHARES.items()]
    return interval_panel(f"Agrees with the teacher, {words}", shares, most=1.0)


def _distance(part: Report, words: str) -> Panel:
    gaps = [("KL, nats", {role: part[role]["kl_nats"] for role in part})]
    gaps += [("total variation", {role: part[role]["tvd"] for role in part})]
    return interval_panel(f"Distance a token, {words}", gaps, note="0 = the teacher itself")


def _perplexity(report: Report) -> Sheet:
    names = {"corpus": "Right answers", "teacher_text": "The teacher's answers", "texts": "Further texts"}
    rows = [
        (
            names[kind],
            role,
            _number(one and one["perplexity"], 2),
            _number(one and one["bits_per_byte"], 3),
        )
        for kind, roles in report["perplexity"].items()
        for role, one in roles.items()
    ]
    return Sheet(("Text", "Model", "Perplexity", "Bits a byte"), tuple(rows))


def _ability(report: Report) -> Section:
    found = report["capability"]
    tasks = sorted({task for role in found.values() for task in role})
    rows = [(task, {role: found[role].get(task) for role in found}) for task in tasks]
    panels = [interval_panel("Right answers by task", rows, note="exact 95 % intervals", most=1.0)]
    curve = loss_panel(report.get("history") or [])
    words = "Every prompt of these corpora has an exact truth: no judge, no grading by similarity."
    return Section("ability", "What it can do", words, (*panels, *([curve] if curve else [])))


def _calibration(report: Report) -> Section:
    kinds = {"tokens": "next token", "answers": "whole answer"}
    made = [
        reliability_panel(f"{role.capitalize()}, {words}", report["calibration"][role][kind])
        for kind, words in kinds.items()
        for role in report["calibration"]
    ]
    words = "On the diagonal a model is right as often as it says. A larger mark stands for more predictions."
    return Section("calibration", "How sure it is", words, tuple(one for one in made if one is not None))


def _refusals(report: Report) -> Section:
    found = report["refusals"]
    groups = ("harmful", "borderline", "benign")
    rows = [(group, {role: found["rates"][role][group] for role in found["rates"]}) for group in groups]
    panels = [interval_panel("Refused", rows, note="refusing benign questions is over-refusal", most=1.0)]
    if found["like_teacher"]:
        like = [("borderline", found["like_teacher"])]
        panels.append(interval_panel("Borderline, as the teacher decides", like, most=1.0))
    roles = [role for role in ROLES if role in found["rates"]]
    topics = tuple(
        (visible(one["topic"]), f"{one['n']}", *(f"{one[role]:.0%}" for role in roles))
        for one in found["topics"]
    )
    sheets = (Sheet(("Borderline topic", "Questions", *roles), topics),) if topics else ()
    return Section("refusals", "What it refuses", _inherited(found["inherited"]), tuple(panels), sheets)


def _inherited(one: Mapping[str, Any] | None) -> str:
    if one is None:
        return "What of this came with the teacher needs a teacher and an untaught control to tell."
    told = (
        f"On borderline questions the student decides as its teacher does {100 * one['value']:+.0f} percentage points "
        f"more often than the untaught control ({100 * one['low']:+.0f} to {100 * one['high']:+.0f}, 95 %)"
    )
    if one["low"] > 0:
        return told + ": part of the teacher's policy came along."
    return told + ": no inheritance can be read from these questions."


def _cost(report: Report) -> Section:
    rows = []
    for role, one in report["efficiency"].items():
        latency, price = one["latency_ms"], one.get("cost_per_1000_requests")
        memory = one["peak_device_bytes"] or one["peak_process_bytes"]
        rows.append(
            (
                role,
                f"{report['models'][role]['parameters']:,}",
                *(_number(latency[level], 1) for level in ("p50", "p95", "p99")),
                _number(one["tokens_per_s"], 0),
                f"{memory / 2**20:,.0f}",
                _number(price and price["together"], 4),
                _number(price and price["one_at_a_time"], 4),
            )
        )
    head = (
        *("Model", "Parameters", "P50 ms", "P95 ms", "P99 ms", "Tokens/s", "Peak MiB of the process"),
        *("1,000 requests, together", "one at a time"),
    )
    sheets = [Sheet(head, tuple(rows))]
    if report.get("dose"):
        sheets.append(_dose(report))
    words = "Measured where the report was made; the peak is that of the whole process so far."
    return Section("cost", "What it costs, and what it cost", words, (), tuple(sheets))


def _dose(report: Report) -> Sheet:
    dose, points = report["dose"], report.get("queries_per_point") or {}
    rows = [
        ("Queries to the teacher", f"{dose['queries']:,}"),
        ("Tokens of a teacher's words seen", f"{dose['teacher_tokens']:,} ({dose['teacher_share']:.0%})"),
        ("Tokens graded by a teacher", f"{dose['graded_tokens']:,}"),
        ("Queries a point of agreement", _number(points.get("of_agreement"), 2)),
        ("Queries a point above the control", _number(points.get("of_agreement_above_control"), 2)),
    ]
    return Sheet(("Dose", ""), tuple(rows))


def _setting(report: Report) -> Sequence[tuple[str, str]]:
    told = [(name.replace("_", " "), _plain(value)) for name, value in report["setting"].items()]
    told += [(name, visible(str(one))) for name, one in report["versions"].items()]
    return told + [(f"{role}", visible(one["name"])) for role, one in report["models"].items()]


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return visible(", ".join(map(str, value)))
    return NOTHING if value is None else visible(str(value))


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:,.{digits}f}"
