"""A live suspect of `kdguard lineage test`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kdguard.cli.lineage.ask import write_answers
from kdguard.cli.progress import StageBars
from kdguard.distill.teachers.budget import Budget
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.lineage.asking import Asking, Manner, about_answers
from kdguard.lineage.compared import Against, Found
from kdguard.lineage.live import found_live, shared_probes
from kdguard.lineage.probes import ProbeSet

if TYPE_CHECKING:
    from kdguard.distill.teachers.endpoint import EndpointTeacher


def examine_endpoint(
    compared: Against,
    suspect: EndpointTeacher,
    probes: ProbeSet,
    manner: Manner,
    out: Path,
    name: str,
    *,
    again: bool,
    token_budget: int | None,
) -> Found:
    """Ask a suspect until its verdict is decided; its answers stay in `out`, sealed.

    Raises:
        LineageError: It answers nothing, or was asked other prompts than the stored models.
    """
    drawn = shared_probes(probes.drawn(compared.seed), compared.frame)[: compared.budget]
    about = about_answers(probes, compared.seed, suspect.name, manner)
    with StageBars() as bars, TranscriptWriter(out, about=about) as writer:
        asking = Asking(
            suspect,
            writer,
            manner,
            now=lambda: datetime.now(UTC),
            budget=Budget(tokens=token_budget),
            say=lambda done, total: bars.stage("ask the suspect", done, total),
        )
        found, answers = found_live(compared, asking, drawn, name, manner, again=again)
        write_answers(answers, name, out)
        if asking.stopped_by is None:
            writer.seal(spent=asking.spent.record(), permission=suspect.permission.record())
    return found
