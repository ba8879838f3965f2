"""`kdguard twins verify`: test whether a suspect prefers released answers to withheld ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from kdguard.cli.audit.options import AsJson, Keys

if TYPE_CHECKING:
    from kdguard.evidence import Evidence


def verify(
    twins: Annotated[Path, typer.Option(help="What 'twins plan' wrote.", exists=True, dir_okay=False)],
    suspect: Annotated[
        Path,
        typer.Option(
            help="Table of site_id and response, or of site_id, logprob_0 and logprob_1.", exists=True
        ),
    ],
    keys: Keys = None,
    account: Annotated[
        list[str] | None, typer.Option(help="Account named beforehand; several are taken together.")
    ] = None,
    everyone: Annotated[bool, typer.Option("--everyone", help="Take all accounts together.")] = False,
    clean: Annotated[
        list[Path] | None,
        typer.Option(
            help="The same of a model that never saw these answers; repeat it, the mean counts.", exists=True
        ),
    ] = None,
    served: Annotated[
        Path | None,
        typer.Option(
            help="The gateway's log (account_id, prompt): only what was served counts.", exists=True
        ),
    ] = None,
    alpha: Annotated[float, typer.Option(help="Chance of a false claim.", min=0, max=1)] = 0.001,
    case: Annotated[Path | None, typer.Option(help="Write a case for 'audit sign'.", dir_okay=False)] = None,
    as_json: AsJson = False,
) -> None:
    """Name the accounts whose released answers a suspect prefers, or test accounts named beforehand.

    Finding nothing is no evidence that nothing was taken.
    Exit status: 0 nothing found, 1 found, 2 bad usage.
    """
    from kdguard.cli.cases import write_case_of
    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.twins.planning import read_plan
    from kdguard.detectors.twins.preferences import contrast
    from kdguard.detectors.twins.suspects import (
        about_accounts,
        key_names,
        name_leakers,
        served_sites,
        statistics_of,
    )
    from kdguard.ledger.keys import open_keys, place_of_keys

    plan = read_plan(twins)
    generation = open_keys(place_of_keys(keys)).generation(plan.generation)
    preferences = _preferences([suspect], plan.answers)
    if clean:
        preferences = contrast(preferences, _preferences(clean, plan.answers))
    asked = served_sites(plan, read_rows(served, ["account_id", "prompt"])) if served else None
    together = list(plan.sites) if everyone else account
    if together:
        found = about_accounts(plan, generation, preferences, together, asked)
    else:
        found = name_leakers(plan, generation, preferences, alpha, asked)
    if case and found:
        subjects = together or [evidence.subject for evidence in found]
        named = [(name, generation.number) for name in key_names(plan, subjects)]
        statistics = statistics_of(plan, preferences, subjects, asked)
        files = [suspect, *(clean or ()), *([served] if served else ())]
        write_case_of(case, found[0].detector, named, plan.parameters, statistics, files)
    _print(found, f"{len(preferences):,} sites, {len(plan.sites):,} accounts", as_json)
    raise typer.Exit(any(evidence.p_value is not None and evidence.p_value <= alpha for evidence in found))


def _preferences(paths: Sequence[Path], answers: Mapping[str, tuple[str, str]]) -> dict[str, float]:
    """Of one or several models; several, all with likelihoods or all with answers, are averaged site by site."""
    from kdguard.cli.mark_tables import column_names, read_rows
    from kdguard.detectors.twins.preferences import from_likelihoods, from_texts

    if "logprob_0" in column_names(paths[0]):
        rows = [row for path in paths for row in read_rows(path, ["site_id", "logprob_0", "logprob_1"])]
        return from_likelihoods(row for row in rows if row[0] in answers)
    return from_texts([row for path in paths for row in read_rows(path, ["site_id", "response"])], answers)


def _print(found: Sequence[Evidence], searched: str, as_json: bool) -> None:
    for evidence in found:
        line = (
            orjson.dumps(asdict(evidence)).decode() if as_json else f"{evidence.subject}: {evidence.summary}"
        )
        typer.echo(line)
    if not found:
        typer.echo(f"no account stands out ({searched}); that is no evidence of absence", err=True)
