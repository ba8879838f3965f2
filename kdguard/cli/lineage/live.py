"""A live suspect of `kdguard lineage test`."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from kdguard.cli.lineage.ask import write_answers
from kdguard.cli.progress import StageBars
from kdguard.distill.teachers.budget import Budget
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.lineage import LineageVerdict, Responses
from kdguard.lineage.asking import Asking, Manner, about_answers
from kdguard.lineage.compared import Against, Found
from kdguard.lineage.live import examine_live, shared_probes
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
    found: list[Found] = []

    def judge(table: Responses, asked: int, *, last: bool) -> tuple[LineageVerdict, ...]:
        found.append(compared.judged(table, [name], asked, all_tests=last))
        return found[-1].verdicts

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
        done = examine_live(asking, drawn, compared.frame, name, judge, seed=compared.seed, again=again)
        write_answers(done.answers, name, out)
        if asking.stopped_by is None:
            writer.seal(spent=asking.spent.record(), permission=suspect.permission.record())
    told = f"at most {manner.max_tokens} tokens, temperature {manner.temperature:g}"
    return replace(
        found[-1],
        verdicts=done.verdicts,
        drift=done.drift,
        doubts={} if done.doubt is None else {name: done.doubt},
        prompts={probe.prompt_id: probe.prompt for probe in drawn},
        manner=told if manner.system is None else f"{told} and a system prompt",
    )
