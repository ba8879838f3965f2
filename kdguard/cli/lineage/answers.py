"""`kdguard lineage test` for suspects known by their answers, stored or asked for now."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kdguard.cli.lineage.ask import RESPONSES_FILE
from kdguard.cli.lineage.options import probes_of
from kdguard.cli.lineage.telling import tell
from kdguard.errors import LineageError

if TYPE_CHECKING:
    from kdguard.distill.teachers.reach import Reach
    from kdguard.lineage.asking import Manner
    from kdguard.lineage.compared import Against, Found


@dataclass(frozen=True)
class Live:
    """A suspect to be asked.

    Attributes:
        reach: How the endpoint is reached.
        out: Where its answers are kept.
        probes: The user's prompts; None = the shipped set.
        manner: How it is asked.
        again: Whether some prompts are asked twice.
        token_budget: Most tokens.
    """

    reach: Reach
    out: Path | None
    probes: Path | None
    manner: Manner
    again: bool
    token_budget: int | None


@dataclass(frozen=True)
class Kept:
    """What is written beside the verdicts.

    Attributes:
        report: Page.
        case: Case for 'audit sign'.
        committed: What was committed to beforehand.
        epoch: Of the commitment.
        keys: Key store of the commitment.
    """

    report: Path | None
    case: Path | None
    committed: Path | None
    epoch: str | None
    keys: Path | None


def examine_answers(compared: Against, suspects: Sequence[str], live: Live | None) -> Found:
    """Verdicts on suspects of the tables, or on one that is asked now.

    Raises:
        LineageError: No suspect is named, or a live one is several or has no folder for its answers.
    """
    from kdguard.cli.lineage.live import examine_endpoint

    if live is None:
        return compared.stored(suspects)
    if live.out is None:
        raise LineageError("a live suspect's answers are evidence and are kept: give --out DIR")
    if len(suspects) > 1:
        raise LineageError(f"--suspect-url is one suspect, got {len(suspects)} names")
    with live.reach.opened() as asked:
        return examine_endpoint(
            compared,
            asked,
            probes_of(live.probes),
            live.manner,
            live.out,
            suspects[0],
            again=live.again,
            token_budget=live.token_budget,
        )


def finish_answers(
    found: Found, compared: Against, files: Sequence[Path | None], kept: Kept, *, as_json: bool
) -> None:
    """Print verdicts, write what is kept, and end: status 1 if a lineage is supported, else 0.

    Args:
        found: Verdicts.
        compared: What suspects were compared with.
        files: What was read: tables, or folders of 'ask'; None = nothing.
        kept: What to write.
        as_json: Print JSON lines.
    """
    from kdguard.cli.lineage.case import write_lineage_case
    from kdguard.cli.lineage.report import write_report

    found = found.with_overlap()
    tell(found, as_json)
    read = [path for path in files if path is not None]
    inputs = [path / RESPONSES_FILE if path.is_dir() else path for path in read]
    if kept.report is not None:
        write_report(kept.report, found, compared, inputs)
    if kept.case is not None:
        write_lineage_case(
            kept.case,
            found,
            compared,
            inputs,
            committed=kept.committed,
            epoch=kept.epoch,
            keys=kept.keys,
        )
    raise typer.Exit(int(any(verdict.verdict.value == "supported" for verdict in found.verdicts)))
