"""`kdguard simulate attack`: a black-box attack from a recipe, with its log, transcripts, student and truth."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def attack(
    recipe: Annotated[
        str,
        typer.Argument(help="text, topk, rationale, adversarial, classifier, hidden_size, or a TOML file."),
    ],
    out: Annotated[Path, typer.Option("--out", help="Folder to write; go on where it was.", file_okay=False)],
    split: Annotated[str, typer.Option("--split", help="Texts to use: fit, calibration or test.")] = "test",
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="KDGUARD_DATA", exists=True, help="Folder with real prompts."),
    ] = None,
) -> None:
    """Attack a teacher as a customer would, and write what its owner and the thief would have.

    Needs the extra `distill`. Any address but this machine needs `owned` or `permission` in the recipe.

    Exit status: 0 done, 2 bad usage, an unusable recipe, or a teacher that may not be asked.
    """
    from kdguard.cli.progress import StageBars, one_thread
    from kdguard.errors import KdguardError
    from kdguard.simulate.attack.recipe import load_recipe
    from kdguard.simulate.attack.run import Surroundings, run_attack
    from kdguard.simulate.pools import SPLITS

    chosen = next((known for known in SPLITS if known == split), None)
    if chosen is None:
        raise typer.BadParameter(f"must be one of {', '.join(SPLITS)}, got '{split}'", param_hint="--split")
    one_thread()
    try:
        with StageBars() as bars:
            around = Surroundings(split=chosen, data=data, say=bars.stage)
            manifest = run_attack(load_recipe(recipe), out, around)
    except KdguardError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    counts, spent = manifest["counts"], manifest["spent"]
    told = f"{counts['attack_exchanges']:,} attack requests from {counts['attack_accounts']:,} accounts"
    told += f", {spent['tokens']:,} tokens, {spent['failed_requests']:,} failed"
    if untold := manifest.get("answers_without_logprobs"):
        told += f", {untold:,} answers without the log-probabilities asked for"
    typer.echo(f"wrote {out}: {told}", err=True)
