"""Findings to a terminal, to files, to SIEM events."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kdguard.readers import Rejects
from kdguard.verdict import Findings

_STYLES = {
    "runs": "green",
    "found": "green",
    "possible": "green",
    "abstains": "yellow",
    "ruled out": "yellow",
    "broken": "red",
}


def print_sections(sections: Sequence[tuple[str, Sequence[tuple[str, ...]]]]) -> None:
    """Print titles, each with rows of cells, on stdout; text from a log cannot style the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(highlight=False)
    for title, rows in sections:
        console.rule(Text(title, style="bold"), align="left", style="dim")
        grid = Table(show_header=False, box=None, pad_edge=False, padding=(0, 2, 0, 1))
        for row in rows:
            grid.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        console.print(grid)


def print_error(error: Exception) -> None:
    """Print an error on stderr."""
    from rich.console import Console

    Console(stderr=True, highlight=False).print(str(error), style="red", markup=False, soft_wrap=True)


def report_rejects(rejects: Rejects) -> None:
    """Say on stderr what could not be read."""
    if not rejects.total:
        return
    print(f"{rejects.total} lines could not be read; --rejects FILE names them all:", file=sys.stderr)
    for rule, count in rejects.counts.most_common(5):
        example = rejects.examples.get(rule, [""])[0]
        print(f"  {count} x {rule} (e.g. {example})", file=sys.stderr)


def write_reports(
    findings: Findings, *, table: bool, html: Path | None = None, ocsf: Path | None = None
) -> None:
    """Write what was asked for; files are named on stderr."""
    if table:
        from rich.console import Console

        from kdguard.report.terminal import render_table

        render_table(findings, Console())
    if html is not None:
        from kdguard.report.html import render

        html.write_text(render(findings), encoding="utf-8")
        print(f"report: {html}", file=sys.stderr)
    if ocsf is not None:
        from kdguard.report.ocsf import findings_to_ocsf

        events = findings_to_ocsf(findings, time_ms=int(time.time() * 1000))
        ocsf.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
        print(f"OCSF findings: {ocsf}", file=sys.stderr)
