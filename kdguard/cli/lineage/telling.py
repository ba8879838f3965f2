"""Verdicts on a terminal, and as JSON lines."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING

import orjson
import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kdguard.lineage import LineageVerdict
    from kdguard.lineage.compared import Found

_PIPE_WIDTH = 1_000
"""Characters: in a pipe lines are not broken."""


def tell(found: Found, as_json: bool) -> None:
    """Print verdicts to stdout, and what else is to be known to stderr."""
    if found.families.absent:
        typer.echo(f"not tested, since no member has answers: {', '.join(found.families.absent)}", err=True)
    if found.responses.repeated:
        typer.echo(
            f"{found.responses.repeated:,} answers to prompts that their model had answered before were left out",
            err=True,
        )
    if found.same_prompts:
        typer.echo(
            f"prompts that stand under a second id: {found.same_prompts}; each was counted once", err=True
        )
    for suspect in found.itself:
        typer.echo(f"{suspect}: a member of the only family asked for; not tested against itself", err=True)
    if found.drift is not None:
        typer.echo(found.drift.reason, err=True)
    if as_json:
        for verdict in found.verdicts:
            typer.echo(orjson.dumps(verdict.to_json(), option=orjson.OPT_SERIALIZE_NUMPY).decode())
    else:
        _show(found.verdicts)


def _show(verdicts: Sequence[LineageVerdict]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    for name in ("suspect", "family"):
        table.add_column(name, overflow="fold", min_width=7)
    for number, name in enumerate(("verdict", "p", "adjusted", "floor", "queries", "controls")):
        table.add_column(name, no_wrap=True, justify="right" if number else "left")
    ordered = sorted(verdicts, key=lambda one: (one.suspect, one.p_value if one.p_value is not None else 2.0))
    for one in ordered:
        numbers = [_short(one.p_value), _short(one.p_adjusted), _short(one.p_floor)]
        words = one.verdict.value.replace("_", " ")
        table.add_row(one.suspect, one.teacher_family, words, *numbers, str(one.queries), str(one.controls))
    console = Console() if sys.stdout.isatty() else Console(width=_PIPE_WIDTH)
    console.print(table)
    for (verdict, reason), count in Counter((one.verdict, one.reason) for one in ordered).items():
        told = f"{verdict.value.replace('_', ' ')}, {count} of {len(ordered)}: {reason}"
        console.print(told, markup=False, highlight=False)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
