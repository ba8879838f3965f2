"""`kdguard lineage weights`: do two models share an initialisation?"""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli.lineage.options import level_of_test


def weights(
    suspect_weights: Annotated[Path, typer.Argument(help="Folder of safetensors.", exists=True)],
    teacher_weights: Annotated[Path, typer.Argument(help="Another.", exists=True)],
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="Text file, a prompt a line: compare hidden states as well; needs the extra distill.",
            exists=True,
        ),
    ] = None,
    reorderings: Annotated[int, typer.Option(min=1, help="The floor of p is 1 / (this + 1).")] = 9_999,
    seed: Annotated[int, typer.Option(min=0, help="Of the reorderings.")] = 0,
    alpha: Annotated[
        float, typer.Option(callback=level_of_test, min=0, max=1, help="Chance of a false claim.")
    ] = 0.01,
    case: Annotated[Path | None, typer.Option(help="Write a case for 'audit sign'.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> None:
    """Test whether two models share an initialisation, exactly, by reordering hidden units.

    It says nothing about models trained on another's answers. Exit status: 0 not supported, 1 supported, 2 bad input.
    """
    from kdguard.cli.lineage.cases import write
    from kdguard.cli.lineage.lines import finish
    from kdguard.detectors.fingerprint.weights import Settings, compare, open_tensors
    from kdguard.detectors.fingerprint.weights.claims import NAME, VERSION, statistics_of
    from kdguard.detectors.fingerprint.weights.run import aligned

    settings = Settings(seed=seed, reorderings=reorderings)
    found = compare(suspect_weights, teacher_weights, settings, alpha)
    if case:
        opened = open_tensors(suspect_weights), open_tensors(teacher_weights)
        inputs = [*suspect_weights.glob("*.safetensors"), *teacher_weights.glob("*.safetensors")]
        write((NAME, VERSION), (statistics_of(*opened, settings), asdict(settings)), inputs, case)
    if prompts:
        lines = [line for line in prompts.read_text(encoding="utf-8").splitlines() if line.strip()]
        found = replace(found, evidence=(*found.evidence, aligned(suspect_weights, teacher_weights, lines)))
    finish([found], as_json=as_json)
