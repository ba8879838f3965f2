"""The page of a student's report, for the commands that make one."""

from __future__ import annotations

from pathlib import Path

import orjson
import typer


def write_page(report: Path, page: Path) -> None:
    """Draw a saved report."""
    from kdguard.report.student import render_student

    page.write_text(render_student(orjson.loads(report.read_bytes())), encoding="utf-8")
    typer.echo(f"report: {page}", err=True)
