"""What `kdguard score` prints for a person at a terminal: headline, groups, accounts, what to expect."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from kdguard.report.cards import first_accounts, first_clusters
from kdguard.report.words import (
    DECISION_WORDS,
    NOTHING,
    expected_words,
    floor_words,
    guarantee_state,
    guarantee_words,
    headline,
    p_words,
    visible,
    why,
)
from kdguard.verdict import Decision, Findings, GuaranteeState, Verdict

_STYLES = {
    Decision.FLAG: "bold red",
    Decision.REVIEW: "yellow",
    Decision.CLEAR: "dim",
    Decision.ABSTAIN: "dim",
}
_MARKS = {Decision.FLAG: "◆", Decision.REVIEW: "▲", Decision.CLEAR: "○", Decision.ABSTAIN: NOTHING}
_WIDTH = 100


def render_table(findings: Findings, console: Console, *, accounts: int = 10, clusters: int = 8) -> None:
    """Print findings in at most 100 columns; ids from the log cannot style, move or repaint anything.

    Args:
        findings: What a scoring run concluded.
        console: Where to print.
        accounts: Account rows at most.
        clusters: Group rows at most.
    """
    of_people: Counter[Decision] = Counter()
    people, groups = [], []
    for verdict in findings.verdicts:
        if verdict.kind == "cluster":
            groups.append(verdict)
            continue
        of_people[verdict.decision] += 1
        if verdict.decision in (Decision.FLAG, Decision.REVIEW):
            people.append(verdict)
    of_groups = Counter(verdict.decision for verdict in groups)
    width = min(console.width, _WIDTH)
    looks = of_people[Decision.REVIEW] + of_groups[Decision.REVIEW]
    first = headline(of_people[Decision.FLAG], of_groups[Decision.FLAG], looks)
    console.print(Text(first, style="bold"), width=width)
    console.print(_counts(of_people), width=width)
    state = guarantee_state(findings)
    if state is not GuaranteeState.ACTIVE:
        title, words = guarantee_words(state)
        console.print(Text.assemble((f"{title}. ", "bold yellow"), words), width=width)
    _print_part(console, "Groups", first_clusters(groups), clusters, 0, findings.summary, width)
    shown = first_accounts(people)[:accounts]
    _print_part(console, "Accounts", shown, accounts, len(people) - len(shown), findings.summary, width)
    console.print()
    console.print(
        Text(" ".join(filter(None, (expected_words(findings), floor_words(findings.summary))))), width=width
    )
    console.print(
        Text("A verdict asks for a person's decision; it proves no intent.", style="dim"), width=width
    )


def _counts(decisions: Mapping[Decision, int]) -> Text:
    line = Text()
    for decision in Decision:
        if line:
            line.append(" · ", style="dim")
        line.append(
            f"{_MARKS[decision]} {DECISION_WORDS[decision]} {decisions.get(decision, 0):,}", _STYLES[decision]
        )
    return line


def _print_part(
    console: Console,
    title: str,
    verdicts: Sequence[Verdict],
    limit: int,
    elsewhere: int,
    summary: Mapping[str, Any],
    width: int,
) -> None:
    if not verdicts:
        return
    console.print()
    console.print(_table(title, verdicts[:limit], width))
    more = elsewhere + max(len(verdicts) - limit, 0)
    if more:
        console.print(
            Text(f"  and {more:,} more; --json or --report lists them all", style="dim"), width=width
        )
    for said, ids in _reasons(verdicts[:limit], summary).items():
        console.print(
            Padding(Text.assemble((f"{', '.join(ids)}: ", "bold"), said), (0, 0, 0, 2)), width=width
        )


def _reasons(verdicts: Sequence[Verdict], summary: Mapping[str, Any]) -> dict[str, list[str]]:
    """Gather subjects by what settled their decision, so that one sentence serves all who share it."""
    found: dict[str, list[str]] = {}
    for verdict in verdicts:
        found.setdefault(why(verdict, summary), []).append(visible(verdict.id, 24))
    return {
        said: ids if len(ids) <= 3 else [*ids[:2], f"{len(ids) - 2} others"] for said, ids in found.items()
    }


def _table(title: str, verdicts: Sequence[Verdict], width: int) -> Table:
    group = verdicts[0].kind == "cluster"
    table = Table(box=None, padding=(0, 1), width=width, header_style="bold", pad_edge=False)
    table.add_column(title, no_wrap=True, overflow="ellipsis", max_width=24, min_width=12)
    table.add_column("p", justify="right", no_wrap=True)
    table.add_column("Accounts" if group else "Requests", justify="right", no_wrap=True)
    table.add_column("Alarm", justify="right", no_wrap=True)
    if not group:
        table.add_column("Group", no_wrap=True, overflow="ellipsis", max_width=8)
    table.add_column("Strongest evidence", ratio=1, overflow="fold", min_width=10)
    for verdict in verdicts:
        name = Text(f"{_MARKS[verdict.decision]} {visible(verdict.id, 60)}", style=_STYLES[verdict.decision])
        alarm = NOTHING if verdict.first_alarm is None else f"{verdict.first_alarm.request:,}"
        cells: list[Text | str] = [name, p_words(verdict.p_value)]
        cells += [f"{len(verdict.members) if group else verdict.requests:,}", alarm]
        cells += [] if group else [Text(visible(" ".join(verdict.clusters), 20))]
        table.add_row(*cells, Text(_evidence(verdict)))
    return table


def _evidence(verdict: Verdict) -> str:
    if verdict.permitted:
        return "permitted by contract"
    return visible(verdict.evidence[0].summary.partition("; ")[0], 120) if verdict.evidence else ""
