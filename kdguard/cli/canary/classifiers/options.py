"""What the commands of both classifier marks share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from kdguard.cli.audit.options import now

if TYPE_CHECKING:
    from kdguard.detectors.canary.classifiers import ClassifierPlan, Form
    from kdguard.evidence import Abstention, Evidence
    from kdguard.ledger.keys import Generation

Accounts = Annotated[
    Path, typer.Option("--accounts", help="Table with a column account_id.", exists=True, dir_okay=False)
]
Epoch = Annotated[str, typer.Option("--epoch", help="Name of the period, never used before, e.g. 2026-12.")]
PlanFile = Annotated[Path, typer.Option("--plan", help="What 'plan' wrote.", exists=True, dir_okay=False)]
OutFile = Annotated[Path, typer.Option("--out", help="File to write.", dir_okay=False)]
Account = Annotated[str, typer.Option("--account", help="Whose answers these are.")]
Alpha = Annotated[float, typer.Option("--alpha", help="Chance of naming any innocent account.", min=0, max=1)]
CaseFile = Annotated[
    Path | None, typer.Option("--case", help="Write a case for 'audit sign'.", dir_okay=False)
]


def commit_plan(
    form: Form, accounts: Path, epoch: str, ledger: Path, out: Path, keys: Path | None, as_json: bool
) -> None:
    """Plan an epoch, commit to every account's key, write the plan, print the ledger's new head."""
    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.canary.classifiers import plan_classifier, write_classifier_plan
    from kdguard.ledger.keys import open_keys, place_of_keys
    from kdguard.ledger.log import append

    signer = open_keys(place_of_keys(keys)).current
    planned = plan_classifier(
        signer, epoch, form, [str(name) for (name,) in read_rows(accounts, ["account_id"])]
    )
    moment = now()
    written = append(ledger, planned.commitments(signer, moment), signer, moment)
    write_classifier_plan(planned, out)
    head = written.heads[-1].as_json()
    told = {"epoch": epoch, "accounts": len(planned.accounts), "head": head} if as_json else head
    typer.echo(orjson.dumps(told).decode())
    typer.echo(f"{len(planned.accounts):,} accounts; {out} written; publish the head above", err=True)


def open_plan(path: Path, kind: str, keys: Path | None) -> tuple[ClassifierPlan, Generation]:
    """A plan and the keys it was made with."""
    from kdguard.detectors.canary.classifiers import read_classifier_plan
    from kdguard.ledger.keys import open_keys, place_of_keys

    plan = read_classifier_plan(path, kind)
    return plan, open_keys(place_of_keys(keys)).generation(plan.generation)


def conclude(
    plan: ClassifierPlan,
    keys: Generation,
    accounts: Sequence[str],
    statistics: Mapping[str, Any],
    files: Sequence[Path],
    *,
    alpha: float,
    case: Path | None,
    as_json: bool,
) -> bool:
    """Run the registered test about some accounts, print it, write a case; whether anything was found."""
    from kdguard.cli.cases import write_case_of
    from kdguard.detectors.registered import find
    from kdguard.evidence import Evidence

    test = find(f"canary.{plan.kind}")
    derived = [plan.key(keys, account) for account in accounts]
    found = test.run(statistics, plan.parameters, {key.name: key.key.reveal() for key in derived})
    for outcome in found:
        told = orjson.dumps(asdict(outcome)).decode() if as_json else f"{outcome.subject}: {_text(outcome)}"
        typer.echo(told)
    if case is not None:
        named = [(key.name, key.generation) for key in derived]
        write_case_of(case, test.name, named, plan.parameters, statistics, files)
    p_values = [outcome.p_value for outcome in found if isinstance(outcome, Evidence)]
    hit = any(p is not None and p <= alpha for p in p_values)
    if not hit:
        typer.echo("no account stands out; that is no evidence of absence", err=True)
    return hit


def _text(outcome: Evidence | Abstention) -> str:
    from kdguard.evidence import Evidence

    return outcome.summary if isinstance(outcome, Evidence) else outcome.reason
