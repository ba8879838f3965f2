"""`kdguard distill train`: a recipe to a student, its manifest and its report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import orjson
import typer


def train(
    recipe: Annotated[str, typer.Argument(help="teacher, untaught, or a TOML file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; go on where it was.", file_okay=False)],
    as_json: Annotated[
        bool, typer.Option("--json", help="The manifest as one JSON object on stdout.")
    ] = False,
) -> None:
    """Train a student as a recipe says: student/, manifest.json and, if it asks for them, report.json and report.html.

    Needs the extra `distill`. White-box objectives need a table [ownership] in the recipe.

    Exit status: 0 done, 2 bad usage, an unusable recipe, or a training that cannot go on.
    """
    from kdguard.cli.distill.page import write_page
    from kdguard.cli.progress import StageBars, one_thread
    from kdguard.distill.recipes.recipe import load_recipe
    from kdguard.distill.recipes.run import Listener, train_recipe

    one_thread()
    with StageBars() as bars:
        manifest = train_recipe(load_recipe(recipe), out, Listener(bars.stage, bars.report))
    if (out / "report.json").is_file():
        write_page(out / "report.json", out / "report.html")
    if as_json:
        typer.echo(orjson.dumps(manifest).decode())
        return
    dose, last = manifest["dose"], manifest["history"][-1]
    told = f"{sum(dose['seen_tokens'].values()):,} tokens seen, {dose['teacher_share']:.0%} of them a teacher's words"
    typer.echo(f"wrote {out}: {told}; loss {last['text'] + last['soft']:.4f}", err=True)
