"""`kdguard lineage test`: rank suspects among control models, family by family."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from kdguard.lineage import LineageVerdict


def examine(
    responses: Annotated[
        Path, typer.Option(help="Table model, prompt_id, response: Parquet, CSV or JSON lines.", exists=True)
    ],
    families: Annotated[
        Path, typer.Option(help="TOML, one table a teacher family with its members.", exists=True)
    ],
    suspect: Annotated[list[str], typer.Option(help="Model to test; repeatable.")],
    family: Annotated[
        list[str] | None, typer.Option(help="Family named beforehand, tested at alpha; repeatable.")
    ] = None,
    adjust: Annotated[
        bool, typer.Option("--adjust/--no-adjust", help="Correct over all families tested (Holm).")
    ] = True,
    controls: Annotated[
        Path | None, typer.Option(help="Table teacher_family, control, kind.", exists=True)
    ] = None,
    control_kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Kinds of controls; student_pool and teacher_of_other_vendor by default; repeatable."
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="Chance of a false claim for one suspect.")
    ] = 0.01,
    budget: Annotated[int | None, typer.Option(min=10, help="Most prompts looked at.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Public seed of the order of prompts.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a suspect and family.")] = False,
) -> None:
    """Test suspects against teacher families, on answers that are stored.

    Exit status: 0 nothing supported, 1 a lineage is supported, 2 bad usage or input.
    """
    from kdguard import lineage
    from kdguard.detectors.fingerprint import default_tests

    table = lineage.read_responses(responses, seed=seed)
    if budget is not None:
        table = table.first(budget)
    placed = lineage.place_families(lineage.read_families(families), table)
    if controls is None:
        among = lineage.derived_controls(placed)
    else:
        kinds = control_kind or ["student_pool", "teacher_of_other_vendor"]
        among = lineage.listed_controls(lineage.read_controls(controls), kinds, placed, table)
    claim = lineage.Claim(alpha=alpha, named=tuple(family or ()), adjust=adjust)
    verdicts = lineage.test(table, placed, among, suspect, default_tests(), claim)
    for name in placed.absent:
        typer.echo(f"family {name}: none of its members has answers; not tested", err=True)
    if as_json:
        for verdict in verdicts:
            typer.echo(orjson.dumps(verdict.to_json(), option=orjson.OPT_SERIALIZE_NUMPY).decode())
    else:
        _show(verdicts)
    raise typer.Exit(int(any(verdict.verdict.value == "supported" for verdict in verdicts)))


def _show(verdicts: tuple[LineageVerdict, ...]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("suspect", "family", "verdict", "p", "adjusted", "floor", "queries", "controls", "reason")
    for one in sorted(
        verdicts, key=lambda one: (one.suspect, one.p_value if one.p_value is not None else 2.0)
    ):
        numbers = [_short(one.p_value), _short(one.p_adjusted), _short(one.p_floor)]
        table.add_row(
            one.suspect,
            one.teacher_family,
            one.verdict.value.replace("_", " "),
            *numbers,
            str(one.queries),
            str(one.controls),
            one.reason,
        )
    Console().print(table)


def _short(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
