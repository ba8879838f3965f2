"""The page of `kdguard lineage test --report`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from kdguard.lineage.compared import Against, Found

_SHOWN = 20
"""Verdicts that get examples: as many as a page has cards."""


def write_report(page: Path, found: Found, compared: Against, inputs: Sequence[Path]) -> None:
    """Draw what was found; the page needs nothing but itself."""
    from kdguard.lineage.record import record
    from kdguard.report.lineage import render_lineage

    told = record(
        found.verdicts,
        compared.claim.alpha,
        found.overlaps,
        found.confounds(compared.claim.alpha),
        _examples(found),
        _about(compared, inputs),
    )
    page.write_text(render_lineage(told), encoding="utf-8")
    typer.echo(f"report: {page}", err=True)


def _examples(found: Found) -> dict[tuple[str, str], Any]:
    from kdguard.lineage.record import alike

    first = sorted(
        (one for one in found.verdicts if one.p_value is not None), key=lambda one: one.p_value or 0.0
    )[:_SHOWN]
    pairs = [(one.suspect, one.teacher_family) for one in first]
    return alike(found.responses, found.families, pairs, found.prompts)


def _about(compared: Against, inputs: Sequence[Path]) -> dict[str, Any]:
    from kdguard.cli.mark_tables import input_digest

    return {
        "inputs": [input_digest(path) for path in inputs],
        "facts": compared.facts(),
        "command": shlex.join(["kdguard", *sys.argv[1:]]),
    }
