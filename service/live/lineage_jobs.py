"""Lineage audits as jobs: the tests of `kdguard lineage test` on tables that were uploaded."""

from __future__ import annotations

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdguard.detectors.fingerprint import default_tests
from kdguard.errors import InputError, LineageError
from kdguard.lineage import (
    Claim,
    Controls,
    Families,
    Responses,
    derived_controls,
    listed_controls,
    place_families,
    read_controls,
    read_responses,
)
from kdguard.lineage.controls import DEFAULT_KINDS
from kdguard.lineage.families import families_from
from kdguard.lineage.run import run_tests
from kdguard.service.live.scoring import Folders
from kdguard.service.store import jobs
from kdguard.service.store.database import Database
from kdguard.service.store.jobs import Job

KIND = "lineage"


def run_job(database: Database, data: Path, job: Job) -> None:
    """Do a job, one suspect at a time, and end it; its uploaded tables go."""
    folder = Folders(data / "tenants" / job.tenant).root / "uploads" / job.id
    try:
        if job.kind != KIND:
            raise LineageError(f"there is no job of kind {job.kind}")
        verdicts = _audited(database, folder, job)
    except InputError as error:
        jobs.finish(database, job, {"error": str(error).replace(str(folder), "upload")}, failed=True)
    else:
        jobs.finish(database, job, {"verdicts": verdicts})
    shutil.rmtree(folder, ignore_errors=True)


def _audited(database: Database, folder: Path, job: Job) -> list[dict[str, Any]]:
    given: Mapping[str, Any] = job.given
    responses = read_responses(next(iter(folder.glob("responses.*")), folder / "responses.parquet"))
    families = place_families(families_from(_toml(given["families"])), responses)
    listed = next(iter(folder.glob("controls.*")), None)
    controls = derived_controls(families) if listed is None else _listed(listed, given, families, responses)
    claim = Claim(alpha=given["alpha"], named=tuple(given["named"]), adjust=given["adjust"])
    verdicts: list[dict[str, Any]] = []
    for at, suspect in enumerate(given["suspects"]):
        found = run_tests(responses, families, controls, [suspect], default_tests(), claim)
        verdicts += [verdict.to_json() for verdict in found]
        jobs.advance(database, job, (at + 1) / len(given["suspects"]))
    return verdicts


def _listed(path: Path, given: Mapping[str, Any], families: Families, responses: Responses) -> Controls:
    kinds = given["control_kinds"] or DEFAULT_KINDS
    return listed_controls(read_controls(path), kinds, families, responses)


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LineageError(f"families must be TOML: {error}") from error
