"""Lineage audits as jobs: the tests of `kdguard lineage test` on tables that were uploaded."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from kdguard.audit.case import Case
from kdguard.detectors.fingerprint import default_tests
from kdguard.detectors.fingerprint.claims import NAME, VERSION, statistics_of_found
from kdguard.errors import LineageError
from kdguard.lineage import Claim, read_controls
from kdguard.lineage.compared import Against, Found, usual_kinds
from kdguard.lineage.families import families_from
from kdguard.lineage.record import record
from kdguard.lineage.responses import COLUMNS
from kdguard.lineage.tables import once_each, read_frame
from kdguard.service.live.errands import Done
from kdguard.service.marks import cases
from kdguard.service.store import jobs
from kdguard.service.store.database import Database
from kdguard.service.store.jobs import Job
from kdguard.service.store.secrets import Secrets

KIND = "lineage"
RESPONSES, CONTROLS = "responses.jsonl", "controls.jsonl"
_SEED = 0


@dataclass(frozen=True, slots=True)
class LineageAudits:
    """Does audits.

    Attributes:
        database: Where jobs stand.
        secrets: What seals cases.
    """

    database: Database
    secrets: Secrets

    def run(self, job: Job, folder: Path) -> Done:
        """Do an audit, one suspect at a time.

        Raises:
            InputError: Families, controls or answers cannot be used.
        """
        compared, suspects = against(job.given, folder), job.given["suspects"]
        table = compared.table()
        judged = []
        for at, suspect in enumerate(suspects):
            judged.append(compared.judged(table, [suspect]))
            jobs.advance(self.database, job, (at + 1) / len(suspects))
        verdicts = tuple(verdict for one in judged for verdict in one.verdicts)
        found = compared.doubted(replace(judged[0], verdicts=verdicts), suspects)
        inputs = tuple(job.given["inputs"])
        ranked = {verdict.suspect for verdict in found.verdicts if verdict.ranked is not None}
        kept = {suspect: case_of(_of(found, suspect), compared, inputs) for suspect in ranked}
        result = record_of(found, compared, inputs) | {"bundles": sorted(kept)}
        return Done(result, dict(job.given) | (cases.sealed(self.secrets, job.id, kept) if kept else {}))


def _of(found: Found, suspect: str) -> Found:
    """What was found of one suspect."""
    return replace(found, verdicts=tuple(one for one in found.verdicts if one.suspect == suspect))


def case_of(found: Found, compared: Against, inputs: tuple[Mapping[str, Any], ...]) -> Case:
    """What a bundle on one suspect is made of."""
    return Case(
        test=NAME,
        version=VERSION,
        keys=(),
        parameters={},
        statistics=statistics_of_found(found, compared),
        inputs=inputs,
    )


def record_of(
    found: Found, compared: Against, inputs: tuple[Mapping[str, Any], ...], route: str = "/v1/lineage"
) -> dict[str, Any]:
    """What a report draws: no answer stands in it, for they are erased when the audit ends."""
    whole = found.with_overlap()
    alpha = compared.claim.alpha
    about = {"inputs": list(inputs), "facts": compared.facts(), "command": f"POST {route}"}
    return record(whole.verdicts, alpha, whole.overlaps, whole.confounds(alpha), {}, about)


def against(given: Mapping[str, Any], folder: Path) -> Against:
    """What suspects are compared with, of the tables in a job's folder.

    Raises:
        InputError: Families, controls or answers cannot be used.
    """
    frame, same_prompts = once_each(read_frame(folder / RESPONSES, COLUMNS))
    listed = folder / CONTROLS
    table = read_controls(listed) if listed.exists() else None
    return Against(
        frame,
        families_from(_toml(given["families"])),
        table,
        () if table is None else tuple(given["control_kinds"]) or usual_kinds(table),
        default_tests(),
        Claim(alpha=given["alpha"], named=tuple(given["named"]), adjust=given["adjust"]),
        given.get("seed", _SEED),
        given.get("budget"),
        same_prompts=same_prompts,
    )


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LineageError(f"families must be TOML: {error}") from error
