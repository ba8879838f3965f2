"""`kdguard lineage probes`: which prompts will be asked, and what to commit to before asking them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer

from kdguard.cli.lineage.options import ProbesFile, Seed, level_of_test, probes_of


def probes(
    probes_file: ProbesFile = None,
    seed: Seed = 0,
    count: Annotated[int | None, typer.Option(min=1, help="Prompts to draw; all by default.")] = None,
    family: Annotated[
        list[str] | None,
        typer.Option(help="Family to be named beforehand, committed to as well; repeatable."),
    ] = None,
    alpha: Annotated[
        float | None,
        typer.Option(callback=level_of_test, min=0, max=1, help="Level of a claim, committed to as well."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the prompts drawn, JSON lines, in order.", dir_okay=False)
    ] = None,
) -> None:
    """Draw prompts with a public seed, and print what fixes the draw.

    What is printed is what 'kdguard audit commit --scheme lineage --parameters FILE' takes: committed to before the
    suspect is asked, it shows that nobody chose the prompts afterwards.

    Exit status: 0 done, 2 bad usage or unusable prompts.
    """
    chosen = probes_of(probes_file)
    committed = chosen.committed(seed, count)
    committed |= {"families": sorted(family)} if family else {}
    committed |= {"alpha": alpha} if alpha is not None else {}
    if out is not None:
        drawn = chosen.drawn(seed, count)
        out.write_bytes(b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in drawn))
    typer.echo(orjson.dumps(committed).decode())
