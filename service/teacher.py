"""The OpenAI-compatible server of a teacher, used in simulated attacks.

Log-probabilities are the model's own, as that API tells them: neither temperature nor `logit_bias` shows, unless
the teacher was made with `logprobs_of="biased"`. See `kdguard.distill.teachers.generation.sampling`.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI, Response

import kdguard
from kdguard.distill.teachers.protocol import Teacher
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
        log: Where exchanges are logged, as `NAME.jsonl` and `NAME.parquet`; its suffix is replaced.
        stored: File that keeps stored completions beyond a restart.
        requests_per_minute: Limit of accounts that have none of their own; None = no limit.
        most_tokens: Largest `max_tokens`.
        most_body_bytes: Largest request body.
        trusts_forwarded: Log the address in `X-Forwarded-For`, for simulated callers and behind a proxy.
    """

    keys: Path | None = None
    log: Path | None = None
    stored: Path | None = None
    requests_per_minute: float | None = None
    most_tokens: int = 1024
    most_body_bytes: int = 4 << 20
    trusts_forwarded: bool = False


def create_teacher_app(teacher: Teacher | Live, settings: TeacherSettings | None = None) -> FastAPI:
    """Build the server of a teacher; its thread starts with the app and stops with it.

    Args:
        teacher: Who answers. Nobody else may use it while the app runs.
        settings: How.

    Raises:
        TeacherError: The keys or the stored completions cannot be read.
    """
    settings = settings or TeacherSettings()
    accounts = Accounts(read_accounts(settings.keys) if settings.keys is not None else None)
    stored = StoredCompletions(settings.stored)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        state = app.state.teacher = TeacherState(
            model=teacher.name,
            created=int(time.time()),
            batcher=Batcher(teacher),
            accounts=accounts,
            rate=RateLimit(),
            requests_per_minute=settings.requests_per_minute,
            stored=stored,
            log=ExchangeLog(settings.log) if settings.log is not None else None,
            vocabulary=getattr(teacher, "token_bytes", None),
            trace=getattr(teacher, "trace", None),
            most_tokens=settings.most_tokens,
            trusts_forwarded=settings.trusts_forwarded,
        )
        state.batcher.start()
        yield
        state.batcher.close()
        if state.log is not None:
            state.log.close()

    app = FastAPI(
        title=f"kdguard teacher {teacher.name}",
        version=kdguard.__version__,
        lifespan=lifespan,
        max_body_size=settings.most_body_bytes,
    )
    app.include_router(completion_routes.router)
    app.include_router(stored_routes.router)
    openai_errors.install(app)

    @app.get("/healthz")
    def health(state: State, response: Response) -> dict[str, str]:
        """Whether the teacher still answers."""
        if state.batcher.broken:
            response.status_code = 503
        return {"status": state.batcher.broken or "ok"}

    return app
