"""`kdguard score`: who is extracting the model?"""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kdguard.verdict import Findings


def score(
    logs: Annotated[list[str], typer.Argument(help="Logs: files, globs, folders, or - for standard input.")],
    log_format: Annotated[str, typer.Option("--format", help="Log format; `auto` sniffs.")] = "auto",
    accounts: Annotated[Path | None, typer.Option(help="Accounts table: CSV, JSON lines or Parquet.")] = None,
    account: Annotated[str | None, typer.Option(help="Field that names the account, or =VALUE.")] = None,
    time: Annotated[str | None, typer.Option(help="Field that holds the time, or `file`.")] = None,
    baseline: Annotated[
        Path | None, typer.Option(help="Your own baseline; without it nothing is flagged.")
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="Chance of a review for one honest account.")
    ] = 0.01,
    fdr: Annotated[
        float, typer.Option(min=0, max=1, help="False discovery rate among flagged owners.")
    ] = 0.1,
    workers: Annotated[int, typer.Option(min=1, help="Processes.")] = 1,
    lateness: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="HOURS", help="Leave out what arrives later than this, as a service does."
        ),
    ] = None,
    rejects: Annotated[
        Path | None, typer.Option(help="Write unreadable lines' places and reasons here.")
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="One verdict a line on stdout, a summary last.")
    ] = False,
    ocsf: Annotated[Path | None, typer.Option(help="Write OCSF detection findings here, one a line.")] = None,
    report: Annotated[Path | None, typer.Option(help="Write a self-contained HTML report here.")] = None,
    fail_on: Annotated[str, typer.Option(help="Exit 1 on `flag`, or also on `review`.")] = "flag",
) -> None:
    """Rank accounts, and groups of accounts acting as one, by how surely they extract the model."""
    from kdguard.cli.render import report_rejects, write_reports
    from kdguard.cli.session import check_places, score_logs

    if fail_on not in {"flag", "review"}:
        raise typer.BadParameter("--fail-on must be flag or review")
    check_places(rejects, ocsf, report)
    scored = score_logs(
        logs,
        baseline=baseline,
        log_format=log_format,
        accounts=accounts,
        account=account,
        time=time,
        alpha=alpha,
        fdr=fdr,
        workers=workers,
        lateness_h=lateness,
        rejects=rejects,
        plots=report is not None,
    )
    report_rejects(scored.rejects)
    if as_json:
        for verdict in scored.findings.verdicts:
            typer.echo(json.dumps(verdict.to_json(), ensure_ascii=False))
        typer.echo(json.dumps({"summary": dict(scored.findings.summary)}, ensure_ascii=False))
    write_reports(scored.findings, table=not as_json, html=report, ocsf=ocsf)
    raise typer.Exit(int(_found(scored.findings, {"flag", fail_on})))


def _found(findings: Findings, bad: set[str]) -> bool:
    """Whether an account (told by the summary) or a cluster (they come first) has one of some decisions."""
    clusters = takewhile(lambda verdict: verdict.kind == "cluster", findings.verdicts)
    counts = findings.summary["decisions"]
    return any(counts[word] for word in bad) or any(verdict.decision in bad for verdict in clusters)
