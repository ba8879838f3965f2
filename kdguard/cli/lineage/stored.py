"""`kdguard lineage test`: rank suspects among control models, family by family."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli.audit.options import Keys
from kdguard.cli.lineage.ask import RESPONSES_FILE
from kdguard.cli.lineage.options import (
    Concurrency,
    KeyVariable,
    MaxTokens,
    Owned,
    Permission,
    ProbesFile,
    RequestsPerMinute,
    Seed,
    System,
    Temperature,
    TokenBudget,
    endpoint,
    probes_of,
)
from kdguard.cli.lineage.telling import tell
from kdguard.errors import LineageError


def examine(
    responses: Annotated[
        list[Path],
        typer.Option(
            help="Table model, prompt_id, response: Parquet, CSV, JSON lines, or a folder of 'ask'; repeatable.",
            exists=True,
        ),
    ],
    families: Annotated[
        Path, typer.Option(help="TOML, one table a teacher family with its members.", exists=True)
    ],
    suspect: Annotated[
        list[str] | None, typer.Option(help="Model to test; repeatable. With --suspect-url its name.")
    ] = None,
    family: Annotated[
        list[str] | None, typer.Option(help="Family named beforehand, tested at alpha; repeatable.")
    ] = None,
    adjust: Annotated[
        bool, typer.Option("--adjust/--no-adjust", help="Correct over all families tested (Holm).")
    ] = True,
    controls: Annotated[
        Path | None, typer.Option(help="Table teacher_family, control, kind.", exists=True)
    ] = None,
    control_kind: Annotated[
        list[str] | None,
        typer.Option(
            help="Kinds of controls; student_pool and teacher_of_other_vendor by default; repeatable."
        ),
    ] = None,
    alpha: Annotated[
        float, typer.Option(min=0, max=1, help="Chance of a false claim for one suspect.")
    ] = 0.01,
    budget: Annotated[int | None, typer.Option(min=10, help="Most prompts looked at.")] = None,
    seed: Seed = 0,
    suspect_url: Annotated[
        str | None, typer.Option(help="Ask a live suspect: an OpenAI-compatible API, with its version.")
    ] = None,
    suspect_model: Annotated[str, typer.Option(help="Model to ask for at --suspect-url.")] = "default",
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for a live suspect's answers; go on where it was.", file_okay=False),
    ] = None,
    probes: ProbesFile = None,
    again: Annotated[
        bool, typer.Option("--again/--no-again", help="Ask a live suspect some prompts twice.")
    ] = True,
    key_variable: KeyVariable = None,
    owned: Owned = None,
    permission: Permission = None,
    max_tokens: MaxTokens = 512,
    temperature: Temperature = 1.0,
    system: System = None,
    requests_per_minute: RequestsPerMinute = None,
    concurrency: Concurrency = 8,
    token_budget: TokenBudget = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page to read, FILE.html.", dir_okay=False)
    ] = None,
    case: Annotated[
        Path | None, typer.Option(help="Write a case of one suspect for 'audit sign'.", dir_okay=False)
    ] = None,
    committed: Annotated[
        Path | None,
        typer.Option(
            help="What 'probes' printed and 'audit commit' took, beforehand.", exists=True, dir_okay=False
        ),
    ] = None,
    epoch: Annotated[str | None, typer.Option(help="Epoch of the commitment.")] = None,
    keys: Keys = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a suspect and family.")] = False,
) -> None:
    """Test suspects against teacher families: stored answers, or a live suspect that is asked now.

    Exit status: 0 nothing supported, 1 a lineage is supported, 2 bad usage or input.
    """
    from kdguard.cli.lineage.against import against
    from kdguard.cli.lineage.case import write_lineage_case
    from kdguard.cli.lineage.live import examine_endpoint
    from kdguard.cli.lineage.report import write_report
    from kdguard.lineage import Claim
    from kdguard.lineage.asking import Manner

    claim = Claim(alpha=alpha, named=tuple(family or ()), adjust=adjust)
    compared = against(responses, families, controls, control_kind, claim, seed=seed, budget=budget)
    if suspect_url is None:
        found = compared.stored(suspect or ())
    else:
        place = _folder_of(out, suspect or ())
        manner = Manner(max_tokens=max_tokens, temperature=temperature, system=system)
        with endpoint(
            suspect_url,
            suspect_model,
            key_variable=key_variable,
            owned=owned,
            permission=permission,
            requests_per_minute=requests_per_minute,
            concurrency=concurrency,
        ) as asked:
            name = (suspect or [suspect_model])[0]
            found = examine_endpoint(
                compared,
                asked,
                probes_of(probes),
                manner,
                place,
                name,
                again=again,
                token_budget=token_budget,
            )
    found = found.with_overlap()
    tell(found, as_json)
    tables = [
        path / RESPONSES_FILE if path.is_dir() else path for path in (*responses, *([out] if out else []))
    ]
    files = [*tables, families, *([controls] if controls else [])]
    if report is not None:
        write_report(report, found, compared, files)
    if case is not None:
        write_lineage_case(case, found, compared, files, committed=committed, epoch=epoch, keys=keys)
    raise typer.Exit(int(any(verdict.verdict.value == "supported" for verdict in found.verdicts)))


def _folder_of(out: Path | None, suspects: Sequence[str]) -> Path:
    if out is None:
        raise LineageError("a live suspect's answers are evidence and are kept: give --out DIR")
    if len(suspects) > 1:
        raise LineageError(f"--suspect-url is one suspect, got {len(suspects)} names")
    return out
