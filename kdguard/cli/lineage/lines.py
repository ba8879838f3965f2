"""Verdicts on stdout, in the same form whatever a suspect was read by."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson
import typer

if TYPE_CHECKING:
    from kdguard.lineage import LineageVerdict


def finish(verdicts: Sequence[LineageVerdict], *, as_json: bool) -> None:
    """Print verdicts and end: status 1 if a lineage is supported, else 0."""
    for verdict in verdicts:
        if as_json:
            typer.echo(orjson.dumps(verdict.to_json(), option=orjson.OPT_SERIALIZE_NUMPY).decode())
            continue
        numbers = (
            "" if verdict.p_value is None else f", p = {verdict.p_value:.3g} (floor {verdict.p_floor:.2g})"
        )
        asked = f", {verdict.queries} queries, {verdict.controls} controls" if verdict.controls else ""
        said = verdict.verdict.value.replace("_", " ")
        typer.echo(f"{verdict.suspect} from {verdict.teacher_family}: {said}{numbers}{asked}")
        typer.echo(f"  {verdict.reason}")
        for evidence in verdict.evidence:
            rank = "" if evidence.p_value is None else f", p = {evidence.p_value:.3g}"
            typer.echo(f"  [{evidence.guarantee.value}] {evidence.summary}{rank}")
    raise typer.Exit(int(any(verdict.verdict.value == "supported" for verdict in verdicts)))


@contextmanager
def counted(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar on a terminal; silence in a pipe."""
    from kdguard.cli.progress import StageBars

    with StageBars() as bars:
        yield lambda done, total: bars.stage(what, done, total)
