"""`create_app`: the scoring service as an ASGI app."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

import kdguard
from kdguard.distill.teachers.reach import Reach
from kdguard.errors import ServiceError
from kdguard.readers import FORMATS
from kdguard.scoring.findings import Policy as Levels
from kdguard.service.api import (
    administration,
    baselines,
    decisions,
    exchanges,
    health,
    lineage,
    marks,
    problems,
    reports,
    subjects,
    uploads,
)
from kdguard.service.api.access import Doorkeeper
from kdguard.service.api.guard import Guard
from kdguard.service.api.key_set import KeySet
from kdguard.service.api.settings import Kafka, Settings, Suspect
from kdguard.service.api.state import Service
from kdguard.service.api.tokens import Tokens
from kdguard.service.gateway.deciding import Gateway
from kdguard.service.gateway.facts import Facts
from kdguard.service.gateway.policy import Policy, read_policy
from kdguard.service.gateway.recording import Recorder
from kdguard.service.ingest.kafka import OTLP, Feeder, check_installed, connected
from kdguard.service.live import learning, lineage_jobs, served_jobs, suspect_jobs
from kdguard.service.live.baselines import shipped_baseline
from kdguard.service.live.worker import Worker
from kdguard.service.marks import jobs as mark_jobs
from kdguard.service.marks.vault import Vault
from kdguard.service.pages.routes import router as pages
from kdguard.service.store.api_keys import make_tenant
from kdguard.service.store.database import Database
from kdguard.service.store.secrets import open_secrets


def create_app(settings: Settings | None = None) -> FastAPI:
    """Build the scoring service; its work in the background starts with the app and ends with it.

    Args:
        settings: As set; by default from the environment.

    Raises:
        ServiceError: The data folder, the database, the master key or the policy cannot be used.
    """
    settings = settings or Settings()
    app = FastAPI(
        title="kdguard",
        version=kdguard.__version__,
        description="Who is extracting the model? Exchanges in; verdicts, evidence and decisions out.",
        lifespan=_lifespan,
        docs_url="/docs" if settings.docs else None,
        redoc_url=None,
    )
    app.state.service = open_service(settings)
    app.state.doorkeeper = Doorkeeper(_tokens(app.state.service))
    for router in (
        decisions.router,  # the first is found fastest
        exchanges.router,
        health.router,
        uploads.router,
        baselines.router,
        administration.router,
        lineage.router,
        marks.router,
        reports.router,
        subjects.router,
    ):
        app.include_router(router)
    app.include_router(pages)
    problems.install(app)
    app.add_middleware(Guard, settings=settings)
    app.openapi = lambda: _described(app)  # type: ignore[method-assign]
    return app


def open_service(settings: Settings) -> Service:
    """Open everything that a service or a worker needs, and bring the database up to date."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    secrets = open_secrets(settings.master_key)
    database = Database(settings.database)
    database.migrate()
    policy = read_policy(settings.policy) if settings.policy is not None else Policy()
    policy.check_techniques(shipped_baseline().suite.technique.techniques)
    facts = Facts(database, settings.data)
    gateway = Gateway(facts, policy, settings.dry_run or policy.dry_run, Recorder(database))
    vault = Vault(settings.vault)
    worker = Worker(
        database,
        secrets,
        settings.data,
        policy=Levels(alpha=settings.alpha, fdr=settings.fdr),
        refresh_s=settings.refresh_s,
        groups_s=settings.groups_s,
        hold_s=settings.hold_s,
        signal_days=settings.signal_days,
        private_webhooks=settings.private_webhooks,
        errands={
            learning.KIND: learning.Learning(database, secrets, settings.data).run,
            served_jobs.KIND: served_jobs.LogLinks(database, secrets).run,
            lineage_jobs.KIND: lineage_jobs.LineageAudits(database, secrets).run,
            mark_jobs.KIND: mark_jobs.Checker(database, secrets, settings.data, vault).run,
        },
        waits={
            suspect_jobs.KIND: suspect_jobs.LiveAudits(
                database, secrets, {(one.tenant, one.name): _endpoint(one) for one in settings.suspects}
            ).run
        },
    )
    service = Service(settings, database, secrets, gateway, vault, worker if settings.scores else None)
    service.feeders = [_feeder(service, source) for source in settings.kafka]
    return service


def _endpoint(suspect: Suspect) -> Reach:
    key = "none" if suspect.key is None else suspect.key.get_secret_value()
    return Reach(key=key, **suspect.model_dump(exclude={"name", "tenant", "key"}))


def _feeder(service: Service, source: Kafka) -> Feeder:
    check_installed()
    if source.format not in (*FORMATS, OTLP):
        raise ServiceError(f"messages of Kafka must be of a known format, got {source.format!r:.80}")
    with service.database.write() as connection:
        make_tenant(connection, source.tenant)
    options = {name: value.get_secret_value() for name, value in source.options.items()}
    return Feeder(
        name=",".join(source.topics),
        connect=partial(connected, source.servers, source.topics, source.group, options),
        format=source.format,
        keep=partial(service.keep, source.tenant),
    )


def _tokens(service: Service) -> Tokens | None:
    oidc = service.settings.oidc
    return None if oidc is None else Tokens(oidc, KeySet(oidc), service.database)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    service: Service = app.state.service
    app.state.slots = asyncio.Semaphore(service.settings.most_ingests)
    app.state.waiting = [0]
    await asyncio.to_thread(service.start)
    yield
    await asyncio.to_thread(service.stop)


def _described(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI description, with problem details as the body of every error."""
    if app.openapi_schema is None:
        told = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes
        )
        told["components"]["schemas"]["ProblemBody"] = problems.ProblemBody.model_json_schema()
        app.openapi_schema = told
    return app.openapi_schema
