"""`kdguard lineage read`: how likely a model folder finds given answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def read(
    models: Annotated[list[Path], typer.Argument(help="Model folders, safetensors.", exists=True)],
    texts: Annotated[
        Path, typer.Option(help="Exchanges, or a table text_id, prompt, text: Parquet or CSV.", exists=True)
    ],
    out: Annotated[Path, typer.Option(help="Parquet file: model, text_id, logprob.", dir_okay=False)],
) -> None:
    """Read log-probabilities of answers from models, for 'lineage logprobs' and 'lineage served'.

    Models are named by their folders. Exit status: 0 written, 2 bad usage or input.
    """
    import pandas as pd

    from kdguard.cli.lineage.lines import counted
    from kdguard.cli.progress import one_thread
    from kdguard.detectors.fingerprint.logprobs.reading import read_model
    from kdguard.lineage.tables import read_numbers

    one_thread()
    told = read_numbers(texts)
    found = []
    with counted("reading models") as say:
        for at, folder in enumerate(models):
            found.append(read_model(folder, told, folder.name))
            say(at + 1, len(models))
    pd.concat(found).to_parquet(out, index=False)
    typer.echo(f"{out}: {len(models)} models, {len(found[0])} texts", err=True)
