"""Findings to a terminal, to files, to SIEM events."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from kdguard.readers import Rejects
from kdguard.report.html import render
from kdguard.report.ocsf import findings_to_ocsf
from kdguard.report.terminal import render_table
from kdguard.verdict import Findings


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

        render_table(findings, Console())
    if html is not None:
        html.write_text(render(findings), encoding="utf-8")
        print(f"report: {html}", file=sys.stderr)
    if ocsf is not None:
        events = findings_to_ocsf(findings, time_ms=int(time.time() * 1000))
        ocsf.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
        print(f"OCSF findings: {ocsf}", file=sys.stderr)
