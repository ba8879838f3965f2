"""`kdguard lineage labels`: does a classifier repeat what is peculiar to a teacher?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdguard.cli.lineage.options import level_of_test
from kdguard.errors import LineageError

if TYPE_CHECKING:
    from kdguard.detectors.fingerprint.labels import Answered, Classifier, Labelled, Plan, Settings

FAMILY = "teacher"


def labels(
    data: Annotated[
        Path,
        typer.Option(help="Labelled rows: numbers, a column 'label', perhaps 'taught'; CSV or Parquet."),
    ],
    teacher_classifier: Annotated[str, typer.Option(help="Folder, or address of the teacher.")],
    suspect_classifier: Annotated[
        list[str] | None,
        typer.Option(help="Folder, table of query_id and label, or address; repeatable. None: only plan."),
    ] = None,
    plan_out: Annotated[
        Path | None, typer.Option("--plan", help="Write the queries to this Parquet file.", dir_okay=False)
    ] = None,
    served: Annotated[
        Path | None,
        typer.Option(
            help="Rows served to the suspect's account, with their true labels, as in --data.", exists=True
        ),
    ] = None,
    queries: Annotated[int, typer.Option(min=1, help="Most queries a suspect is asked.")] = 100,
    controls: Annotated[
        int, typer.Option(min=1, help="Models of each group trained here that suspects are ranked among.")
    ] = 200,
    private_rows: Annotated[
        bool,
        typer.Option(
            help="Nobody else holds the rows marked 'taught', on your word; else models of them count too."
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Public seed of queries and controls.")] = 0,
    alpha: Annotated[
        float,
        typer.Option(callback=level_of_test, min=0, max=1, help="Chance of a false claim for one suspect."),
    ] = 0.01,
    owned: Annotated[str | None, typer.Option(help="Whose an address beyond this machine is.")] = None,
    permission: Annotated[
        str | None, typer.Option(help="Who permits asking it, and where that is written.")
    ] = None,
    case: Annotated[
        Path | None, typer.Option(help="Write a case for 'audit sign'; one suspect.", dir_okay=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a suspect.")] = False,
) -> None:
    """Test classifiers by their labels and probabilities, against controls trained here on your data.

    Exit status: 0 nothing supported, 1 a lineage is supported, 2 bad usage or input.
    """
    from kdguard.cli.lineage.lines import finish
    from kdguard.detectors.fingerprint.labels import Settings, examine_many, open_classifier, read_labelled

    named = suspect_classifier or []
    if case and len(named) != 1:
        raise LineageError("a case is about one suspect; give --suspect-classifier once with --case")
    teacher = open_classifier(teacher_classifier, owned=owned, permission=permission)
    suspects = {where: open_classifier(where, owned=owned, permission=permission) for where in named}
    rows = read_labelled(data)
    _must_fit(suspects, rows)
    plan = _planned(rows, served, teacher, Settings(seed=seed, queries=queries, controls=controls))
    if plan_out:
        _write(plan, plan_out)
    answers = {where: suspect.ask(plan.queries, plan.names) for where, suspect in suspects.items()}
    if case:
        _write_case(plan, data, named[0], answers[named[0]], case)
    finish(examine_many(plan, answers, FAMILY, alpha, private_rows=private_rows), as_json=as_json)


def _must_fit(suspects: Mapping[str, Classifier], rows: Labelled) -> None:
    """Refuse suspects on this machine with other labels or features before controls are trained, not after."""
    for where, suspect in suspects.items():
        if Path(where).exists():
            suspect.ask(rows.rows[:1], rows.names)


def _planned(rows: Labelled, served: Path | None, teacher: Classifier, settings: Settings) -> Plan:
    """Train controls, choose queries, and say which."""
    from kdguard.cli.lineage.lines import counted
    from kdguard.detectors.fingerprint.labels import make_plan, read_labelled

    with counted("training controls") as say:
        plan = make_plan(
            rows,
            lambda asked: teacher.ask(asked, rows.names).probabilities,
            settings,
            say,
            served=read_labelled(served) if served else None,
        )
    typer.echo(f"{len(plan.queries)} queries: {plan.described()}; sha256 {plan.digest}", err=True)
    return plan


def _write_case(plan: Plan, data: Path, suspect: str, answered: Answered, case: Path) -> None:
    from kdguard.cli.lineage.cases import write
    from kdguard.detectors.fingerprint.labels.claims import NAME, VERSION, case_of

    write((NAME, VERSION), case_of(plan, suspect, answered, FAMILY), [data, Path(suspect)], case)


def _write(plan: Plan, path: Path) -> None:
    """Queries by id; the answers go into a table of query_id and label, perhaps p_LABEL."""
    import pandas as pd

    frame = pd.DataFrame(plan.queries, columns=[f"feature_{at}" for at in range(plan.queries.shape[1])])
    frame.insert(0, "query_id", range(len(frame)))
    frame.to_parquet(path)
