"""`kdguard simulate`: worlds of benign traffic and campaigns, written to a folder; attacks end to end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli.simulate_attack import attack

app = typer.Typer(help="Simulate logs with known truth.", no_args_is_help=True)
app.command()(attack)


@app.callback()
def _simulate() -> None:
    """Simulate logs with known truth: benign owners and extraction campaigns."""


@app.command()
def traffic(
    world: Annotated[str, typer.Argument(help="tiny, standard, campaigns, shifted, or a TOML file.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write.", file_okay=False)],
    seed: Annotated[int, typer.Option("--seed", help="Seed; the same seed gives the same bytes.", min=0)] = 0,
    split: Annotated[str, typer.Option("--split", help="Prompts to use: fit, calibration or test.")] = "test",
    data: Annotated[
        Path | None,
        typer.Option("--data", envvar="KDGUARD_DATA", exists=True, help="Folder with real prompts."),
    ] = None,
) -> None:
    """Simulate the API log of a world and write it with its accounts table and the truth.

    Exit status: 0 done, 2 bad usage or an unusable world file.
    """
    from kdguard.errors import KdguardError
    from kdguard.simulate.pools import SPLITS
    from kdguard.simulate.traffic import simulate
    from kdguard.simulate.world import load_world
    from kdguard.simulate.write import write

    chosen = next((known for known in SPLITS if known == split), None)
    if chosen is None:
        raise typer.BadParameter(f"must be one of {', '.join(SPLITS)}, got '{split}'", param_hint="--split")
    try:
        loaded = load_world(world)
        simulated = simulate(loaded, seed=seed, split=chosen, data=data)
        manifest = write(simulated, out, seed=seed, world_digest=loaded.digest, split=chosen)
    except KdguardError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    summary = ", ".join(f"{value:,} {name.replace('_', ' ')}" for name, value in manifest["counts"].items())
    typer.echo(f"wrote {out}: {summary}", err=True)
