"""`kdguard canary ask`: put the cues of an epoch to a suspect, or ask how likely it finds the replies."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli import suspects
from kdguard.cli.audit.options import Keys


def ask(
    canaries: Annotated[Path, typer.Option(help="What 'canary plan' wrote.", exists=True, dir_okay=False)],
    suspect: suspects.Suspect,
    out: suspects.AnswersFile,
    keys: Keys = None,
    likelihood: Annotated[
        bool, typer.Option("--likelihood", help="Ask how likely it finds replies; needs its weights.")
    ] = False,
    account: Annotated[
        list[str] | None, typer.Option(help="With --likelihood: whose replies; all accounts by default.")
    ] = None,
    times: suspects.Times = 3,
    max_tokens: suspects.MaxTokens = 128,
    model: suspects.ModelName = None,
    api_key_variable: suspects.ApiKeyVariable = None,
    permission: suspects.Permission = None,
) -> None:
    """Write what 'canary verify --answers' reads.

    Small students seldom say a canary, yet find it far likelier than any other: where weights are at hand take
    --likelihood.
    Exit status: 0 done, 2 bad usage, or a suspect that cannot be asked.
    """
    from kdguard.detectors.canary.asking import candidates, cues_of, reply_likelihoods
    from kdguard.detectors.canary.planning import plan_generation, read_plan
    from kdguard.detectors.interview import answers
    from kdguard.ledger.keys import open_keys, place_of_keys

    generation = open_keys(place_of_keys(keys)).generation(plan_generation(canaries))
    plan = read_plan(canaries, generation)
    if likelihood:
        asked = candidates(plan, generation, account or list(plan.marked))
        told = reply_likelihoods(asked, *suspects.open_weights(suspect))
        rows = [{"site_id": site, "reply": list(reply), "logprob": value} for site, reply, value in told]
    else:
        who = suspects.open_suspect(suspect, model, api_key_variable, permission)
        said = answers(who, cues_of(plan), times=times, max_tokens=max_tokens)
        rows = [{"site_id": name, "response": response} for name, _, response in said]
    typer.echo(f"{out}: {suspects.write_rows(rows, out):,} rows", err=True)
