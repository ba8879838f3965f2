"""The OpenAI-compatible server of a teacher, used in simulated attacks.

Log-probabilities are the model's own, as that API tells them: neither temperature nor `logit_bias` shows, unless
the teacher was made with `logprobs_of="biased"`. See `kdguard.distill.teachers.generation.sampling`.
"""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Response

import kdguard
from kdguard.distill.teachers.protocol import Teacher
from kdguard.errors import TeacherError
from kdguard.service import completion_routes, openai_errors, stored_routes
from kdguard.service.accounts import Accounts, read_accounts
from kdguard.service.batching import Batcher, Live
from kdguard.service.exchange_log import ExchangeLog
from kdguard.service.rate_limit import RateLimit
from kdguard.service.stored_completions import StoredCompletions
from kdguard.service.teacher_state import State, TeacherState


@dataclass(frozen=True, slots=True, kw_only=True)
class TeacherSettings:
    """How a teacher is served.

    Attributes:
        keys: File of accounts; without it every key is accepted, each as an account of its own.
        log: File of flat JSON lines where exchanges are logged.
        stored: File that keeps stored completions beyond a restart.
        requests_per_minute: Limit of accounts that have none of their own; None = no limit.
        most_tokens: Largest `max_tokens`.
        most_body_bytes: Largest request body.
        most_waiting: Choices that may wait or be under way; more are told to come back.
        trusts_forwarded: Log the address in `X-Forwarded-For`, for simulated callers and behind a proxy.
    """

    keys: Path | None = None
    log: Path | None = None
    stored: Path | None = None
    requests_per_minute: float | None = None
    most_tokens: int = 1024
    most_body_bytes: int = 4 << 20
    most_waiting: int = 4096
    trusts_forwarded: bool = False


def create_teacher_app(teacher: Teacher | Live, settings: TeacherSettings | None = None) -> FastAPI:
    """Build the server of a teacher; its thread starts with the app and stops with it.

    Args:
        teacher: Who answers. Nobody else may use it while the app runs.
        settings: How.

    Raises:
        TeacherError: The keys, the log or the stored completions cannot be read or written.
    """
    settings = settings or TeacherSettings()
    state = TeacherState(
        model=teacher.name,
        created=int(time.time()),
        batcher=Batcher(teacher),
        accounts=Accounts(read_accounts(settings.keys) if settings.keys is not None else None),
        rate=RateLimit(),
        requests_per_minute=settings.requests_per_minute,
        stored=StoredCompletions(settings.stored),
        log=ExchangeLog(settings.log) if settings.log is not None else None,
        vocabulary=getattr(teacher, "token_bytes", None),
        trace=getattr(teacher, "trace", None),
        most_tokens=settings.most_tokens,
        most_body_bytes=settings.most_body_bytes,
        most_waiting=settings.most_waiting,
        trusts_forwarded=settings.trusts_forwarded,
    )
    app = FastAPI(title=f"kdguard teacher {teacher.name}", version=kdguard.__version__, lifespan=_lifespan)
    app.state.teacher = state
    app.include_router(completion_routes.router)
    app.include_router(stored_routes.router)
    app.get("/healthz")(_health)
    openai_errors.install(app)
    return app


def listen(host: str, port: int) -> socket.socket:
    """Open the socket of a server; port 0 takes a free one.

    Raises:
        TeacherError: The address is taken, or is not one of this machine.
    """
    try:
        opened = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise TeacherError(f"{host} port {port}: cannot be listened on: {error}") from error
    # connections inherit it; asyncio sets it only on sockets that name their protocol, and 40 ms an answer are lost
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return opened


def server_of(app: FastAPI, *, patience_s: int = 10) -> uvicorn.Server:
    """A server for `run(sockets=[listen(host, port)])`.

    At SIGTERM or SIGINT it takes no more requests, and has `patience_s` seconds to end those under way. No header of
    a client decides which address is logged, unless the settings of the app trust it.
    """
    return uvicorn.Server(
        uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=patience_s,
        )
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: TeacherState = app.state.teacher
    state.batcher.start()
    yield
    state.batcher.close()
    if state.log is not None:
        state.log.close()


def _health(state: State, response: Response) -> dict[str, str]:
    """Whether the teacher still answers."""
    if state.batcher.broken:
        response.status_code = 503
    return {"status": state.batcher.broken or "ok"}
