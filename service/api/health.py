"""Whether the service lives, is ready, has started; and its metrics."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import generate_latest
from pydantic import BaseModel
from sqlalchemy.exc import SQLAlchemyError

from kdguard.service.api.access import Reader, Serving
from kdguard.service.out.metrics import REGISTRY

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """`ok`, or why not, by what was looked at."""

    status: str
    checks: dict[str, str]


@router.get("/livez")
async def livez() -> Health:
    """Whether the process answers."""
    return Health(status="ok", checks={})


@router.get("/startupz", responses={503: {"model": Health}})
async def startupz(service: Serving, response: Response) -> Health:
    """Whether it has begun to serve."""
    return _told({"started": "ok" if service.started else "still opening what was left behind"}, response)


@router.get("/readyz", responses={503: {"model": Health}})
def readyz(service: Serving, response: Response) -> Health:
    """Whether requests are worth sending: database, migrations, disk, backlog, scoring, each with its reason."""
    checks: dict[str, str] = {}
    try:
        checks["database"] = service.database.behind() or "ok"
        waiting = service.measure()
        most = service.settings.most_backlog_bytes
        checks["backlog"] = (
            "ok" if waiting < most else f"{waiting} bytes wait to be scored, at most {most} may"
        )
    except SQLAlchemyError as error:
        checks["database"] = f"cannot be reached: {type(error).__name__}"
    free = service.free_bytes()
    least = service.settings.least_free_bytes
    checks["disk"] = "ok" if free >= least else f"{free} bytes are free, at least {least} must be"
    if unwritten := service.journals_failed():
        checks["disk"] = f"the journal cannot be written: {unwritten}"
    checks["scoring"] = (service.worker and service.worker.trouble()) or "ok"
    for feeder in service.feeders:
        checks[f"kafka {feeder.name}"] = "ok" if feeder.failed is None else f"failed: {feeder.failed}"
    return _told(checks, response)


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(caller: Reader) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(REGISTRY), media_type="text/plain; version=0.0.4; charset=utf-8")


def _told(checks: dict[str, str], response: Response) -> Health:
    good = all(told == "ok" for told in checks.values())
    if not good:
        response.status_code = 503
    return Health(status="ok" if good else "not ready", checks=checks)
