"""`kdguard twins ask`: which of two answers a suspect prefers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli import suspects


def ask(
    twins: Annotated[Path, typer.Option(help="What 'twins plan' wrote.", exists=True, dir_okay=False)],
    suspect: suspects.Suspect,
    out: suspects.AnswersFile,
    times: suspects.Times = 3,
    max_tokens: suspects.MaxTokens = 128,
    model: suspects.ModelName = None,
    api_key_variable: suspects.ApiKeyVariable = None,
    permission: suspects.Permission = None,
) -> None:
    """Write what 'twins verify --suspect' reads: likelihoods of both answers of a folder, answers of an endpoint.

    Exit status: 0 done, 2 bad usage, or a suspect that cannot be asked.
    """
    from kdguard.detectors.interview import answers
    from kdguard.detectors.twins.planning import read_plan
    from kdguard.detectors.twins.suspects import answer_likelihoods

    plan = read_plan(twins)
    if suspects.is_url(suspect):
        who = suspects.open_suspect(suspect, model, api_key_variable, permission)
        said = answers(who, list(plan.prompts.items()), times=times, max_tokens=max_tokens)
        rows: list[dict[str, object]] = [
            {"site_id": name, "response": response} for name, _, response in said
        ]
    else:
        told = answer_likelihoods(plan, *suspects.open_weights(suspect))
        rows = [{"site_id": site, "logprob_0": zero, "logprob_1": one} for site, (zero, one) in told.items()]
    typer.echo(f"{out}: {suspects.write_rows(rows, out):,} rows", err=True)
