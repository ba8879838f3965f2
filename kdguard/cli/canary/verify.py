"""`kdguard canary verify`: look for an epoch's canaries in a suspect's answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from kdguard.cli.audit.options import AsJson, Keys

if TYPE_CHECKING:
    from kdguard.detectors.canary.planning import Plan
    from kdguard.detectors.canary.suspects import Reading
    from kdguard.evidence import Evidence


def verify(
    canaries: Annotated[Path, typer.Option(help="What 'canary plan' wrote.", exists=True, dir_okay=False)],
    answers: Annotated[
        Path,
        typer.Option(
            help="What 'canary ask' wrote: site_id with response, or with reply and logprob.", exists=True
        ),
    ],
    keys: Keys = None,
    account: Annotated[
        list[str] | None, typer.Option(help="Account named beforehand; repeat it. None: all are searched.")
    ] = None,
    clean: Annotated[
        Path | None, typer.Option(help="The same of models that never saw a mark.", exists=True)
    ] = None,
    alpha: Annotated[
        float, typer.Option(help="Chance of naming any innocent account.", min=0, max=1)
    ] = 0.001,
    case: Annotated[Path | None, typer.Option(help="Write a case for 'audit sign'.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Name the accounts whose canaries a suspect learnt, or test contact with accounts named beforehand.

    Ask the suspect each cue of the canaries file several times. Finding nothing is no evidence that nothing was taken.
    Exit status: 0 nothing found, 1 found, 2 bad usage.
    """
    from kdguard.cli.cases import write_case_of
    from kdguard.detectors.canary.planning import account_key, plan_generation, read_plan
    from kdguard.detectors.canary.suspects import about_accounts, name_accounts, statistics_of
    from kdguard.ledger.keys import open_keys, place_of_keys

    generation = open_keys(place_of_keys(keys)).generation(plan_generation(canaries))
    plan = read_plan(canaries, generation)
    reading = _read(plan, answers, clean)
    if account:
        found = about_accounts(plan, generation, reading, account, alone=True)
    else:
        found = name_accounts(plan, generation, reading, alpha)
    hits = [evidence for evidence in found if evidence.p_value is not None and evidence.p_value <= alpha]
    if case and found:
        subjects = [evidence.subject for evidence in found]
        named = [
            (account_key(generation, subject, plan.epoch).name, generation.number) for subject in subjects
        ]
        statistics = statistics_of(plan, generation, reading, subjects)
        files = [answers, *([clean] if clean else [])]
        write_case_of(case, found[0].detector, named, plan.parameters, statistics, files)
    _print(found, f"epoch {plan.epoch}, {len(plan.marked):,} accounts, {reading.answers} answers", as_json)
    raise typer.Exit(1 if hits else 0)


def _read(plan: Plan, answers: Path, clean: Path | None) -> Reading:
    from kdguard.cli.mark_tables import column_names, read_rows
    from kdguard.detectors.canary.suspects import read_likelihoods, read_suspect

    by_likelihood = "logprob" in column_names(answers)
    columns = ["site_id", "reply", "logprob"] if by_likelihood else ["site_id", "response"]
    rows, usual = read_rows(answers, columns), read_rows(clean, columns) if clean else ()
    return read_likelihoods(plan, rows, usual) if by_likelihood else read_suspect(plan, rows, usual)


def _print(found: Sequence[Evidence], searched: str, as_json: bool) -> None:
    for evidence in found:
        line = (
            orjson.dumps(asdict(evidence)).decode() if as_json else f"{evidence.subject}: {evidence.summary}"
        )
        typer.echo(line)
    if not found:
        typer.echo(f"no account stands out ({searched}); that is no evidence of absence", err=True)
    else:
        typer.echo(f"{len(found)} accounts ({searched})", err=True)
