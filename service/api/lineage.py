"""Lineage audits: of answers sent along, of suspects that are asked, and of answers that the journal holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import orjson
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from kdguard.service.api import examples
from kdguard.service.api.access import Auditor, Caller, Reader, Serving
from kdguard.service.api.problems import RESPONSES, Problem
from kdguard.service.api.settings import Suspect
from kdguard.service.api.state import Service
from kdguard.service.api.uploads import Queued, queued
from kdguard.service.live import suspect_jobs
from kdguard.service.live.errands import ASKED
from kdguard.service.live.learning import SEGMENTS, link_segments
from kdguard.service.live.lineage_jobs import KIND
from kdguard.service.live.served_jobs import KIND as SERVED
from kdguard.service.marks.cases import input_of, lines_of

router = APIRouter(tags=["lineage"], responses=RESPONSES)

Name = Annotated[str, Field(max_length=200)]


class LineageRow(BaseModel):
    """One answer."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=200)
    prompt_id: str = Field(max_length=200)
    response: str = Field(max_length=100_000)
    prompt: str | None = Field(None, max_length=100_000, description="What was asked: echoes are told by it.")


class ControlRow(BaseModel):
    """One control of one family."""

    model_config = ConfigDict(extra="forbid")

    teacher_family: str = Field(max_length=200)
    control: str = Field(max_length=200)
    kind: str = Field(max_length=64)


class _Compared(BaseModel):
    """What suspects are compared with."""

    model_config = ConfigDict(extra="forbid")

    responses: list[LineageRow] = Field(min_length=1, max_length=200_000)
    families: str = Field(max_length=100_000, description="TOML, one table a family with its members.")
    controls: list[ControlRow] = Field(default=[], max_length=10_000)
    control_kinds: list[Annotated[str, Field(max_length=64)]] = Field(default=[], max_length=8)
    named: list[Name] = Field(default=[], max_length=64, description="Families named beforehand.")
    adjust: bool = True
    alpha: float = Field(0.01, gt=0, lt=1)


class LineageAsk(_Compared):
    """A lineage audit: answers of teachers, controls and suspects in one table."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.LINEAGE]})

    suspects: list[Name] = Field(min_length=1, max_length=64)


class ProbeRow(BaseModel):
    """A prompt to ask."""

    model_config = ConfigDict(extra="forbid")

    prompt_id: str = Field(max_length=200)
    prompt: str = Field(max_length=100_000)


class Manner(BaseModel):
    """How prompts are put: as teachers and controls were asked, or length and decoding confound the test."""

    model_config = ConfigDict(extra="forbid")

    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 512
    temperature: Annotated[float, Field(ge=0, le=2)] = 1.0
    system: Annotated[str, Field(max_length=100_000)] | None = None


class LiveAsk(_Compared):
    """A live lineage audit: a suspect that the operator listed is asked what teachers and controls have answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [examples.LIVE]})

    endpoint: str = Field(max_length=100, description="A name in `GET /v1/lineage/endpoints`.")
    suspect: Name | None = Field(None, description="Name in verdicts; its model by default.")
    probes: list[ProbeRow] = Field(
        default=[],
        max_length=10_000,
        description="Prompts that the stored models were asked; none: shipped set.",
    )
    manner: Manner = Manner()
    budget: int | None = Field(None, ge=10, le=10_000, description="Most prompts.")
    token_budget: int | None = Field(None, ge=1, le=2**31, description="Most tokens, prompts and answers.")
    again: bool = Field(True, description="Ask some prompts twice, to see a change of model.")
    seed: int = Field(0, ge=0, lt=2**31, description="Public seed of the order of prompts.")


class Listed(BaseModel):
    """A suspect that may be asked."""

    name: str = Field(examples=["rival"])
    url: str
    model: str
    owned: str | None
    permission: str | None


class LikelihoodRow(BaseModel):
    """How likely a model finds one answer, in nats, given its prompt."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=200)
    request_id: str = Field(max_length=1024)
    logprob: Annotated[float, Field(allow_inf_nan=False)]


class AnswerRow(BaseModel):
    """What a model says to one prompt."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(max_length=200)
    prompt: str = Field(max_length=1_000_000)
    response: str = Field(max_length=100_000)


class ServedAsk(BaseModel):
    """A log link: a suspect's readings of answers that the journal holds, and those of models that never saw them."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.SERVED]})

    suspect: str = Field(max_length=200)
    clean: list[Annotated[str, Field(max_length=200)]] = Field(default=[], max_length=64)
    likelihoods: list[LikelihoodRow] = Field(default=[], max_length=500_000)
    answers: list[AnswerRow] = Field(default=[], max_length=200_000)
    accounts: list[Annotated[str, Field(max_length=1024)]] = Field(
        default=[], max_length=1_000, description="Named beforehand, tested together as one."
    )
    since_us: int | None = Field(None, ge=0, le=2**62, description="Microseconds since 1970.")
    until_us: int | None = Field(None, ge=0, le=2**62)
    deals: int = Field(9_999, ge=1, le=99_999, description="The floor of p is 1 / (this + 1).")
    seed: int = Field(0, ge=0, lt=2**31)
    alpha: float = Field(0.01, gt=0, lt=1)


@router.post("/v1/lineage", status_code=202)
def post_lineage(asked: LineageAsk, caller: Reader, service: Serving) -> Queued:
    """Test suspects against teacher families, as a job; the answers are erased when it ends."""
    given, files = _tables(asked)
    return queued(service, caller, KIND, "lineage.ask", given, files)


@router.get("/v1/lineage/endpoints")
def list_endpoints(caller: Reader, service: Serving) -> list[Listed]:
    """Suspects that the operator lists, and why they may be asked; no other address is ever asked."""
    mine = _suspects(service, caller).values()
    return [Listed(**one.model_dump(include=set(Listed.model_fields))) for one in mine]


@router.post("/v1/lineage/live", status_code=202)
def post_live(asked: LiveAsk, caller: Auditor, service: Serving) -> Queued:
    """Ask a suspect until its verdict is decided, as a job; as `kdguard lineage test --suspect-url`.

    What it answered is kept with the job, encrypted: `GET /v1/jobs/{job}/answers`.
    """
    endpoint = _suspects(service, caller).get(asked.endpoint)
    if endpoint is None:
        raise Problem(404, "not-found", "there is no such suspect; the operator lists them in `suspects`")
    given, files = _tables(asked)
    given["suspect"] = asked.suspect or endpoint.model
    return queued(service, caller, suspect_jobs.KIND, "lineage.live", given, files)


def _suspects(service: Service, caller: Caller) -> dict[str, Suspect]:
    """Suspects of the caller's tenant by name."""
    return {one.name: one for one in service.settings.suspects if one.tenant == caller.tenant}


def _tables(asked: LineageAsk | LiveAsk) -> tuple[dict[str, Any], dict[str, bytes]]:
    """What a job is given: settings and digests of what was sent, and that as files."""
    tables: dict[str, Sequence[BaseModel]] = {"responses": asked.responses, "controls": asked.controls}
    if isinstance(asked, LiveAsk):
        tables["probes"] = asked.probes
    sent = {
        f"{name}.jsonl": lines_of(row.model_dump(exclude_none=True) for row in rows)
        for name, rows in tables.items()
        if rows
    }
    given = asked.model_dump(exclude=set(tables))
    given["inputs"] = [
        input_of("families.toml", asked.families.encode()),
        *(input_of(name, lines) for name, lines in sent.items()),
    ]
    return given, sent


@router.post("/v1/lineage/served", status_code=202)
def post_served(asked: ServedAsk, caller: Auditor, service: Serving) -> Queued:
    """Rank accounts by how much a suspect prefers what they were served, as a job; as `kdguard lineage served`.

    Only while retention is on: otherwise answers are erased after scoring, and there is nothing to link.
    """
    if not service.settings.retain_days:
        why = "retention is off, so answers are erased after scoring; set retain_days to keep them"
        raise Problem(409, "retention", why)
    if bool(asked.likelihoods) == bool(asked.answers):
        raise Problem(
            422, "invalid", "give likelihoods, or answers where there are none: one kind of reading"
        )
    inbox = service.inbox(caller.tenant)
    inbox.journal.seal()
    told = asked.model_dump(exclude_none=True) | {"since_us": asked.since_us, "until_us": asked.until_us}
    name = "likelihoods" if asked.likelihoods else "answers"
    given = {"suspect": asked.suspect, "inputs": [input_of(f"{name}.jsonl", lines_of(told[name]))]}

    def link(folder: Path) -> None:
        link_segments(inbox.folders.journal, folder / SEGMENTS)

    files = {ASKED: orjson.dumps(told)}
    return queued(service, caller, SERVED, "lineage.served", given, files, link)
