"""`kdguard evaluate`: how often honest accounts alarm, and how surely campaigns do."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kdguard.scoring.suite import Suite

DATA = typer.Option(envvar="KDGUARD_DATA", exists=True, help="Folder with real prompts.")


def make_suite(leave_out: Sequence[str], languages: Sequence[str]) -> Suite:
    """The shipped detectors, their classifier never shown some techniques, or shown some languages only."""
    from kdguard.detectors import default_suite
    from kdguard.detectors.query_patterns.technique import TechniqueClassifier

    technique = TechniqueClassifier.untrained(tuple(leave_out), tuple(languages))
    return replace(default_suite(), technique=technique)


def make_suite_for_new_wordings(leave_out: Sequence[str], languages: Sequence[str]) -> Suite:
    """The same, with a classifier that never saw the phrases campaigns are tested with."""
    from kdguard.detectors.query_patterns.technique import TechniqueClassifier

    technique = TechniqueClassifier.untrained(tuple(leave_out), tuple(languages), "fit")
    return replace(make_suite(leave_out, languages), technique=technique)


def evaluate(
    world: Annotated[str, typer.Option(help="Honest owners: a packaged world or a TOML file.")] = "standard",
    mix_into: Annotated[list[str] | None, typer.Option(help="Your own honest log instead.")] = None,
    accounts: Annotated[Path | None, typer.Option(help="Accounts table that belongs to --mix-into.")] = None,
    worlds: Annotated[int | None, typer.Option(min=1, help="Worlds, each with its own baseline.")] = None,
    full: Annotated[bool, typer.Option("--full", help="20 worlds, over 20,000 honest accounts.")] = False,
    owners: Annotated[int | None, typer.Option(min=200, help="Owners a simulated baseline has.")] = None,
    reviews: Annotated[
        int, typer.Option(min=0, help="Reviews of a baseline's month with thieves in it.")
    ] = 1,
    out: Annotated[Path | None, typer.Option(help="Folder; an interrupted run goes on from it.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on stdout, no tables.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of all worlds.")] = 0,
    new_wordings: Annotated[
        bool, typer.Option(help="Hide from learning the phrases of the campaigns.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 2,
    data: Annotated[Path | None, DATA] = None,
) -> None:
    """Measure false alarms and power on worlds that no baseline has seen, beside published methods."""
    import kdguard
    from kdguard.detectors.rivals import default_rivals
    from kdguard.scoring.facts import read_accounts
    from kdguard.simulate import evaluation

    if mix_into and owners:
        raise typer.BadParameter("a baseline of --mix-into has the log's owners; leave --owners out")
    plan = (
        evaluation.full_plan(seed, world, data)
        if full
        else evaluation.Plan(seed=seed, world=world, data=data)
    )
    plan = plan if owners is None else plan.with_baselines_of(owners)
    plan = replace(plan, worlds=worlds or plan.worlds, reviews=reviews)
    source: evaluation.Source = evaluation.SimulatedSource()
    if mix_into:
        table = read_accounts(accounts) if accounts else None
        source = evaluation.OwnLog(kdguard.read(mix_into), table, " ".join(mix_into))
    contestants = evaluation.Contestants(
        make_suite_for_new_wordings if new_wordings else make_suite, source, default_rivals()
    )
    with ExitStack() as stack:
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kdguard-evaluation-")))
        report = evaluation.run_study(
            plan,
            contestants,
            folder,
            workers=1 if mix_into else workers,
            tell=lambda line: typer.echo(line, err=True),
        )
        text, values = evaluation.to_markdown(report), json.dumps(report.to_json(), allow_nan=False)
        (folder / "report.json").write_text(values)
        (folder / "report.md").write_text(text)
    if as_json or not sys.stdout.isatty():
        typer.echo(values if as_json else text)
        return
    from rich.console import Console
    from rich.markdown import Markdown

    Console().print(Markdown(text))
