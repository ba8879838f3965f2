"""Lineage audits as jobs: the tests of `kdguard lineage test` on tables that were uploaded."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import kdguard
from kdguard.audit.case import Case
from kdguard.detectors.fingerprint import default_tests
from kdguard.detectors.fingerprint.claims import NAME, VERSION, statistics_of
from kdguard.errors import LineageError
from kdguard.lineage import (
    Claim,
    Controls,
    Families,
    LineageVerdict,
    Responses,
    derived_controls,
    listed_controls,
    place_families,
    read_controls,
    responses_of,
)
from kdguard.lineage.beside import with_overlap
from kdguard.lineage.confounds import confounds, surroundings
from kdguard.lineage.controls import DEFAULT_KINDS
from kdguard.lineage.doubts import doubts, withheld
from kdguard.lineage.families import families_from
from kdguard.lineage.record import record
from kdguard.lineage.responses import COLUMNS
from kdguard.lineage.run import run_tests
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
        compared = _compared(job.given, folder)
        suspects: Sequence[str] = job.given["suspects"]
        told: list[LineageVerdict] = []
        for at, suspect in enumerate(suspects):
            told += compared.judged(suspect)
            jobs.advance(self.database, job, (at + 1) / len(suspects))
        kept = {}
        for suspect in suspects:
            mine = [one for one in told if one.suspect == suspect]
            if any(one.ranked is not None for one in mine):
                kept[suspect] = compared.case(mine)
        result = compared.record(told) | {"bundles": sorted(kept)}
        return Done(result, dict(job.given) | (cases.sealed(self.secrets, job.id, kept) if kept else {}))


@dataclass(frozen=True, slots=True)
class _Compared:
    """What suspects are compared with; see `kdguard lineage test`."""

    responses: Responses
    families: Families
    controls: Controls
    kinds: Sequence[str]
    claim: Claim
    doubts: Mapping[str, str]
    inputs: tuple[Mapping[str, Any], ...]

    def judged(self, suspect: str) -> list[LineageVerdict]:
        """Verdicts on one suspect; nothing is claimed where its answers are doubtful."""
        found = run_tests(
            self.responses, self.families, self.controls, [suspect], default_tests(), self.claim
        )
        doubt = self.doubts.get(suspect)
        return list(found if doubt is None else (withheld(one, doubt) for one in found))

    def record(self, told: Sequence[LineageVerdict]) -> dict[str, Any]:
        """What a report draws: no answer stands in it, for they are erased when the audit ends."""
        verdicts, overlaps = with_overlap(told, self.responses, self.families)
        facts = {
            "kdguard": kdguard.__version__,
            "created": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "seed of the order": _SEED,
            "alpha": self.claim.alpha,
            "families named beforehand": ", ".join(self.claim.named) or "none",
            "kinds of controls": ", ".join(self.kinds) or "not told",
        }
        about = {"inputs": list(self.inputs), "facts": facts, "command": "POST /v1/lineage"}
        around = surroundings(self.responses, self.families, self.claim.alpha, doubts=self.doubts)
        explained = {
            (one.suspect, one.teacher_family): confounds(
                one, around, told_apart=self._apart[one.teacher_family]
            )
            for one in verdicts
        }
        return record(verdicts, self.claim.alpha, overlaps, explained, {}, about)

    def case(self, mine: Sequence[LineageVerdict]) -> Case:
        """What a bundle on one suspect is made of."""
        statistics = statistics_of(
            mine,
            self._apart,
            self.responses.prompts,
            seed=_SEED,
            alpha=self.claim.alpha,
            corrected=self.claim.adjust and not self.claim.named,
            named=self.claim.named,
            kinds=self.kinds,
            withheld=self.doubts.get(mine[0].suspect),
        )
        return Case(
            test=NAME, version=VERSION, keys=(), parameters={}, statistics=statistics, inputs=self.inputs
        )

    @property
    def _apart(self) -> dict[str, bool]:
        return dict(zip(self.families.names, map(bool, self.controls.told_apart), strict=True))


def _compared(given: Mapping[str, Any], folder: Path) -> _Compared:
    frame, _ = once_each(read_frame(folder / RESPONSES, COLUMNS))
    responses = responses_of(frame, seed=_SEED)
    families = place_families(families_from(_toml(given["families"])), responses)
    listed, kinds = folder / CONTROLS, tuple(given["control_kinds"])
    if listed.exists():
        table = read_controls(listed)
        kinds = (
            kinds or tuple(kind for kind in DEFAULT_KINDS if (table["kind"] == kind).any()) or DEFAULT_KINDS
        )
        controls = listed_controls(table, kinds, families, responses)
    else:
        kinds, controls = (), derived_controls(families)
    return _Compared(
        responses=responses,
        families=families,
        controls=controls,
        kinds=kinds,
        claim=Claim(alpha=given["alpha"], named=tuple(given["named"]), adjust=given["adjust"]),
        doubts=doubts(responses, frame, given["suspects"]),
        inputs=tuple(given["inputs"]),
    )


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LineageError(f"families must be TOML: {error}") from error
