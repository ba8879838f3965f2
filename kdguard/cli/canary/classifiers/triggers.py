"""`kdguard canary triggers`: a keyed hash gives few of an account's queries a keyed wrong label."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli import suspects
from kdguard.cli.audit.options import AsJson, Keys, LedgerDirectory
from kdguard.cli.canary.classifiers import options


def plan(
    accounts: options.Accounts,
    epoch: options.Epoch,
    ledger: LedgerDirectory,
    out: options.OutFile,
    labels: Annotated[int, typer.Option(help="Labels of the classifier.", min=2)],
    share: Annotated[float, typer.Option(help="Share of queries that are triggers, at most 0.005.")] = 0.005,
    keys: Keys = None,
    as_json: AsJson = False,
) -> None:
    """Commit to every account's key before any label is changed.

    Exit status: 0 planned, 2 bad usage.
    """
    from kdguard.detectors.canary.classifiers import Triggers

    form = Triggers(labels=labels, share=share)
    options.commit_plan(form, accounts, epoch, ledger, out, keys, as_json)


def mark(
    answers: Annotated[Path, typer.Argument(help="Table of query and label (a number).", exists=True)],
    plan: options.PlanFile,
    account: options.Account,
    out: options.OutFile,
    keys: Keys = None,
) -> None:
    """Write what a gateway serves an account: the classifier's labels, but the drawn wrong ones on triggers.

    Exit status: 0 done, 2 bad usage.
    """
    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.canary.triggers import served_label

    planned, generation = options.open_plan(plan, "triggers", keys)
    key = planned.key(generation, account).key.reveal()
    labels, share = planned.parameters["labels"], planned.parameters["share"]
    rows = [
        {"query": query, "label": served_label(key, str(query), int(label), labels, share)}
        for query, label in read_rows(answers, ["query", "label"])
    ]
    typer.echo(f"{out}: {suspects.write_rows(rows, out):,} labels", err=True)


def verify(
    asked: Annotated[
        Path,
        typer.Argument(
            help="Table of account_id, query, label (the classifier's) and answer (the suspect's).",
            exists=True,
        ),
    ],
    plan: options.PlanFile,
    keys: Keys = None,
    alpha: options.Alpha = 0.001,
    case: options.CaseFile = None,
    as_json: AsJson = False,
) -> None:
    """Test whether a suspect gives accounts' drawn wrong labels. Ask triggers and other queries of the account alike.

    Exit status: 0 nothing found, 1 found, 2 bad usage.
    """
    from kdguard.cli.mark_tables import read_rows
    from kdguard.detectors.canary.triggers import query_digest

    planned, generation = options.open_plan(plan, "triggers", keys)
    rows: defaultdict[str, list[list[object]]] = defaultdict(list)
    for account, query, label, answer in read_rows(asked, ["account_id", "query", "label", "answer"]):
        rows[str(account)].append([query_digest(str(query)), int(label), int(answer)])
    found = options.conclude(
        planned,
        generation,
        sorted(rows),
        {"asked": dict(rows)},
        [asked],
        alpha=alpha,
        case=case,
        as_json=as_json,
    )
    raise typer.Exit(int(found))
