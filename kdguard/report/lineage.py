"""The page of a lineage test: one self-contained document from its record; no network, no clock."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

from kdguard.errors import InputError
from kdguard.report.distribution import Panel
from kdguard.report.environment import environment
from kdguard.report.lineage_figures import bet_panel, queries_panel, standing_panel
from kdguard.report.words import NOTHING, count, number_words, p_words, visible

SCHEMA_VERSION = 1
CARDS = 20
TABLE_ROWS = 2_000
Record = Mapping[str, Any]
_WORDS = {"supported": "Supported", "not_supported": "Not supported", "inconclusive": "Inconclusive"}
_TONE = {"supported": "flag", "not_supported": "clear", "inconclusive": "review"}
_URGENCY = {"supported": 0, "inconclusive": 1, "not_supported": 2}


@dataclass(frozen=True, slots=True)
class Side:
    """Two answers to one prompt; what they share word for word is marked."""

    prompt_id: str
    prompt: str
    teacher: str
    suspect: Markup
    theirs: Markup


@dataclass(frozen=True, slots=True)
class Card:
    """One verdict in words and figures."""

    anchor: str
    title: str
    verdict: str
    tone: str
    reason: str
    facts: tuple[tuple[str, str], ...]
    panels: tuple[Panel, ...]
    evidence: tuple[tuple[str, str, str], ...]
    confounds: tuple[tuple[str, str, str, str], ...]
    would_change: tuple[str, ...]
    sides: tuple[Side, ...]


def render_lineage(record: Record, *, title: str = "Does the suspect descend from a teacher?") -> str:
    """Write the page of one test.

    Args:
        record: As `kdguard.lineage.record` makes it.
        title: Heading of the page.

    Returns:
        A whole HTML document that opens from disk, prints, and asks the network for nothing.

    Raises:
        InputError: No such record, or one of a later version.
    """
    if record.get("kind") != "lineage_report" or record.get("schema_version", 99) > SCHEMA_VERSION:
        raise InputError(
            f"must be a lineage record of schema_version at most {SCHEMA_VERSION}, got "
            f"{record.get('kind')!r}, {record.get('schema_version')!r}"
        )
    ordered = sorted(record["verdicts"], key=_urgency)
    shown = [one for one in ordered if one["verdict"] == "supported" or one["p_value"] is not None][:CARDS]
    shown = shown or ordered[:CARDS]
    text = (
        environment()
        .get_template("lineage.html.j2")
        .render(
            title=title,
            lead=lead(record),
            tiles=_tiles(record),
            cards=[_card(one, float(record["alpha"])) for one in shown],
            rows=[_row(one) for one in ordered[:TABLE_ROWS]],
            rows_left_out=max(len(ordered) - TABLE_ROWS, 0),
            carded={_anchor(one) for one in shown},
            alpha=record["alpha"],
            about=record["about"],
        )
    )
    return text.encode("utf-8", "replace").decode("utf-8")


def lead(record: Record) -> str:
    """The first sentence: what stands out, and among how many questions asked."""
    verdicts = record["verdicts"]
    found = [one for one in verdicts if one["verdict"] == "supported"]
    asked = count(len(verdicts), "question")
    if len(found) == 1:
        one = found[0]
        told = (
            f"{visible(one['suspect'], 60)} stands closer to {visible(one['teacher_family'], 60)} than the control "
            f"models do: p = {p_words(one['p_adjusted'])}, at level {record['alpha']:g}."
        )
        return told if len(verdicts) == 1 else f"{told} {asked} were asked."
    if found:
        return f"{len(found)} of {asked} have an answer that chance does not explain at level {record['alpha']:g}."
    if all(one["verdict"] == "inconclusive" for one in verdicts):
        return (
            f"Nothing can be said: {visible(verdicts[0]['reason'], 300)}."
            if verdicts
            else "Nothing was asked."
        )
    return "No suspect stands out among the control models. That is no proof of independence."


def _tiles(record: Record) -> list[tuple[str, str, int]]:
    counts = Counter(one["verdict"] for one in record["verdicts"])
    return [(_TONE[kind], words, counts[kind]) for kind, words in _WORDS.items()]


def _urgency(verdict: Record) -> tuple[int, float, str, str]:
    p_value = 2.0 if verdict["p_value"] is None else float(verdict["p_value"])
    return _URGENCY[verdict["verdict"]], p_value, verdict["suspect"], verdict["teacher_family"]


def _anchor(verdict: Record) -> str:
    """An id for links within the page; names may hold anything."""
    name = f"{verdict['suspect']}\0{verdict['teacher_family']}".encode("utf-8", "replace")
    return f"v-{hashlib.sha256(name).hexdigest()[:12]}"


def _card(verdict: Record, alpha: float) -> Card:
    level = alpha / max(int(verdict["families_tested"]), 1)
    return Card(
        anchor=_anchor(verdict),
        title=f"{visible(verdict['suspect'])} and {visible(verdict['teacher_family'])}",
        verdict=_WORDS[verdict["verdict"]],
        tone=_TONE[verdict["verdict"]],
        reason=visible(verdict["reason"], 600),
        facts=_facts(verdict),
        panels=_panels(verdict, level),
        evidence=tuple(
            (visible(one["detector"], 60), one["guarantee"], visible(one["summary"], 600))
            for one in _without_further_bets(verdict["evidence"])
        ),
        confounds=tuple(
            (visible(one["name"]), *_checked(one), visible(one["finding"], 900))
            for one in verdict["confounds"]
        ),
        would_change=tuple(visible(one, 600) for one in verdict["would_change"]),
        sides=tuple(_side(one) for one in verdict["examples"]),
    )


def _checked(confound: Record) -> tuple[str, str]:
    """Tone and words."""
    if not confound["checked"]:
        return "review", "not checked"
    return ("flag", "weighs") if confound["weighs"] else ("clear", "checked")


def _without_further_bets(evidence: Sequence[Record]) -> list[Record]:
    """The bet beside the test that decides is shown, and those beside the others are not."""
    bets = [one for one in evidence if one["detector"].endswith(".bet")]
    return [one for one in evidence if one not in bets[1:]]


def _facts(verdict: Record) -> tuple[tuple[str, str], ...]:
    rows = [
        ("p, stopping paid for", f"{p_words(verdict['p_value'])} (floor {p_words(verdict['p_floor'])})"),
        (
            f"p, corrected over {count(verdict['families_tested'], 'family', 'families')}",
            p_words(verdict["p_adjusted"]),
        ),
        ("Score", number_words(verdict["score"])),
        ("Prompts", f"{verdict['queries']:,}"),
        ("Controls", f"{verdict['controls']:,}"),
        ("Guarantee", verdict["guarantee"]),
    ]
    overlap = verdict["overlap"]
    if overlap is not None:
        told = f"{overlap['share']:.1%} of runs of eight words"
        told += (
            f"; {overlap['nearly_verbatim']} of {count(overlap['prompts'], 'answer')} more than half verbatim"
        )
        rows.append(("Word for word" + (" (unusual)" if overlap["unusual"] else ""), told))
    return tuple(rows)


def _panels(verdict: Record, level: float) -> tuple[Panel, ...]:
    if verdict["course"] is None or verdict["score"] is None or not verdict["course"]["scores"]:
        return ()
    return standing_panel(verdict, level), queries_panel(verdict, level), bet_panel(verdict)


def _side(example: Mapping[str, str]) -> Side:
    return Side(
        visible(example["prompt_id"], 60),
        _shown(example["prompt"]),
        visible(example["teacher"], 60),
        _marked(example["suspect_answer"], example["shared"]),
        _marked(example["teacher_answer"], example["shared"]),
    )


def _shown(text: str) -> str:
    """Text of an answer with its line breaks; what could repaint a page or a terminal is spelt out."""
    return "\n".join(visible(line, 4_000) for line in text.expandtabs(4).splitlines())


def _marked(text: str, shared: str) -> Markup:
    """Text with a run of words marked; everything is escaped."""
    shown, run = _shown(text), _shown(shared)
    place = shown.lower().find(run.lower()) if run else -1
    if place < 0:
        return escape(shown)
    before, marked, after = shown[:place], shown[place : place + len(run)], shown[place + len(run) :]
    return Markup("{}<mark>{}</mark>{}").format(before, marked, after)


def _row(verdict: Record) -> dict[str, Any]:
    return {
        "anchor": _anchor(verdict),
        "suspect": visible(verdict["suspect"]),
        "family": visible(verdict["teacher_family"]),
        "verdict": _WORDS[verdict["verdict"]],
        "tone": _TONE[verdict["verdict"]],
        "p_value": p_words(verdict["p_value"]),
        "p_adjusted": p_words(verdict["p_adjusted"]),
        "floor": p_words(verdict["p_floor"]),
        "queries": f"{verdict['queries']:,}",
        "controls": f"{verdict['controls']:,}",
        "overlap": NOTHING if verdict["overlap"] is None else f"{verdict['overlap']['share']:.1%}",
        "reason": visible(verdict["reason"], 300),
    }
