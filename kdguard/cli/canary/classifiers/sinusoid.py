"""`kdguard canary sinusoid`: a keyed wave on a classifier's probability, found again in a student's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdguard.cli import suspects
from kdguard.cli.audit.options import AsJson, Keys, LedgerDirectory
from kdguard.cli.canary.classifiers import options
from kdguard.errors import CanaryError

if TYPE_CHECKING:
    from kdguard.detectors.canary.classifiers import ClassifierPlan, Sinusoid


def plan(
    accounts: options.Accounts,
    epoch: options.Epoch,
    ledger: LedgerDirectory,
    out: options.OutFile,
    label: Annotated[int, typer.Option(help="Place of the label that is moved.", min=0)] = 0,
    size: Annotated[float, typer.Option(help="Largest move as a share of what there is to move.")] = 0.05,
    frequency: Annotated[float, typer.Option(help="Radians a unit of the features' projection.")] = 4.0,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Commit to every account's key before any probability is moved.

    Exit status: 0 planned, 2 bad usage.
    """
    from kdguard.detectors.canary.classifiers import Sinusoid

    form = Sinusoid(label=label, size=size, frequency=frequency)
    options.commit_plan(form, accounts, epoch, ledger, out, keys, as_json)


def mark(
    answers: Annotated[
        Path, typer.Argument(help="Table of query and probabilities (a list a row).", exists=True)
    ],
    plan: options.PlanFile,
    account: options.Account,
    out: options.OutFile,
    keys: Keys = None,
) -> None:
    """Write what a gateway serves an account: probabilities moved along its wave, each row still adding up to 1.

    Exit status: 0 done, 2 bad usage.
    """
    import numpy as np

    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.canary.sinusoid import perturb, text_features

    planned, generation = options.open_plan(plan, "sinusoid", keys)
    form, told = _form(planned), read_rows(answers, ["query", "probabilities"])
    probabilities = np.array([row[1] for row in told], np.float64)
    if probabilities.ndim != 2 or form.label >= probabilities.shape[1]:
        raise CanaryError(f"{answers}: probabilities must be lists of one length that hold the plan's label")
    queries = [str(row[0]) for row in told]
    key = planned.key(generation, account).key.reveal()
    features = text_features(queries, form.width)
    moved = perturb(probabilities, features, key, label=form.label, size=form.size, frequency=form.frequency)
    rows = [
        {"query": query, "probabilities": row} for query, row in zip(queries, moved.tolist(), strict=True)
    ]
    typer.echo(f"{out}: {suspects.write_rows(rows, out):,} rows", err=True)


def verify(
    asked: Annotated[
        Path,
        typer.Argument(
            help="Table of query, answer (the suspect's probability of the label), own (the classifier's, or 0).",
            exists=True,
        ),
    ],
    plan: options.PlanFile,
    account: Annotated[list[str] | None, typer.Option(help="Accounts to test; all by default.")] = None,
    keys: Keys = None,
    alpha: options.Alpha = 0.001,
    case: options.CaseFile = None,
    as_json: AsJson = False,
) -> None:
    """Rank the power of accounts' waves in a suspect's probabilities among 9,999 decoys. Fix the queries beforehand.

    Exit status: 0 nothing found, 1 found, 2 bad usage.
    """
    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.canary.sinusoid import text_features

    planned, generation = options.open_plan(plan, "sinusoid", keys)
    told = read_rows(asked, ["query", "answer", "own"])
    features = text_features([str(row[0]) for row in told], _form(planned).width)
    statistics = {
        "features": features.round(9).tolist(),
        "residuals": [float(answer) - float(own or 0) for _, answer, own in told],
    }
    accounts = account or list(planned.accounts)
    found = options.conclude(
        planned, generation, accounts, statistics, [asked], alpha=alpha, case=case, as_json=as_json
    )
    raise typer.Exit(int(found))


def _form(planned: ClassifierPlan) -> Sinusoid:
    from kdguard.detectors.canary.classifiers import Sinusoid

    if not isinstance(planned.form, Sinusoid):
        raise CanaryError(f"epoch {planned.epoch} was planned for {planned.kind}, not for a sinusoid")
    return planned.form
