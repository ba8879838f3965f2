"""Live lineage audits as jobs: `kdguard lineage test --suspect-url`, of the endpoints that the operator lists.

A suspect is an adversary's: it may be slow, and answer anything. So each try and each answer is bounded, and these jobs
have a thread of their own. What it answered stands in the job's folder at once: whoever takes the job up again asks
nothing twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kdguard.distill.teachers.budget import Budget
from kdguard.distill.teachers.reach import Reach
from kdguard.distill.transcripts.writer import TranscriptWriter
from kdguard.errors import ServiceError
from kdguard.lineage.asking import Asking, Manner, about_answers
from kdguard.lineage.compared import Against, Found
from kdguard.lineage.drift import asked_again
from kdguard.lineage.live import found_live, shared_probes
from kdguard.lineage.probes import ProbeSet, read_probes, shipped_probes
from kdguard.service.live.errands import Done
from kdguard.service.live.lineage_jobs import against, case_of, record_of
from kdguard.service.marks import cases
from kdguard.service.store import jobs
from kdguard.service.store.database import Database
from kdguard.service.store.jobs import Job
from kdguard.service.store.secrets import Secrets

KIND = "lineage_live"
PROBES = "probes.jsonl"
ANSWERS = "answers"
_TRY_S = 30.0
_RETRIES = 2
"""With pauses of up to two minutes between them a request takes less than the lease of a job."""


@dataclass(frozen=True, slots=True)
class LiveAudits:
    """Does live audits.

    Attributes:
        database: Where jobs stand.
        secrets: What seals cases and answers.
        endpoints: Suspects that may be asked, by tenant and name.
    """

    database: Database
    secrets: Secrets
    endpoints: Mapping[tuple[str, str], Reach]

    def run(self, job: Job, folder: Path) -> Done:
        """Ask a suspect until its verdict is decided, or prompts or tokens run out.

        Raises:
            InputError: It is listed no more, answers nothing, or families, controls or answers cannot be used.
        """
        name, endpoint = job.given["suspect"], self.endpoints.get((job.tenant, job.given["endpoint"]))
        if endpoint is None:
            raise ServiceError(f"suspect {job.given['endpoint']} is listed no more")
        compared = against(job.given, folder)
        found, answers, more = self._ask(job, folder, compared, endpoint)
        inputs = (*job.given["inputs"], cases.input_of("answers.jsonl", answers))
        kept = {name: case_of(found, compared, inputs)} if any(one.ranked for one in found.verdicts) else {}
        result = record_of(found, compared, inputs, "/v1/lineage/live") | more | {"bundles": sorted(kept)}
        sealed = cases.sealed(self.secrets, job.id, kept) if kept else {}
        return Done(result, dict(job.given) | sealed | cases.sealed_answers(self.secrets, job.id, answers))

    def _ask(
        self, job: Job, folder: Path, compared: Against, endpoint: Reach
    ) -> tuple[Found, bytes, dict[str, Any]]:
        """What was found, the answers as lines, and how asking went."""
        probes, manner = _probes(folder), Manner(**job.given["manner"])
        drawn = shared_probes(probes.drawn(compared.seed), compared.frame)[: compared.budget]
        most = len(drawn) + asked_again(len(drawn))
        with (
            replace(endpoint, timeout_s=_TRY_S, retries=_RETRIES).opened() as suspect,
            TranscriptWriter(
                folder / ANSWERS, about=about_answers(probes, compared.seed, suspect.name, manner)
            ) as writer,
        ):
            asking = Asking(
                suspect,
                writer,
                manner,
                now=lambda: datetime.now(UTC),
                budget=Budget(tokens=job.given["token_budget"]),
                say=lambda done, total: jobs.advance(
                    self.database, job, 0.95 * len(writer.done_ids(include_failed=True)) / most
                ),
            )
            name, again = job.given["suspect"], bool(job.given["again"])
            found, answers = found_live(compared, asking, drawn, name, manner, again=again)
        rows = (
            {str(key): value for key, value in row.items() if value is not None}
            for row in answers.to_dict("records")
        )
        asked = {
            "endpoint": job.given["endpoint"],
            "address": suspect.permission.record(),
            "answers": len(answers),
            "stopped_by": asking.stopped_by,
            "spent": asking.spent.record(),
        }
        return found, cases.lines_of(rows), {"asked": asked}


def _probes(folder: Path) -> ProbeSet:
    """The prompts that were sent along, or the shipped set."""
    return read_probes(folder / PROBES) if (folder / PROBES).exists() else shipped_probes()
