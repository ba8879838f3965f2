"""Starting the service: where it may listen, the first key, and how it ends."""

from __future__ import annotations

import signal
import socket
import threading

import uvicorn

from kdguard.errors import ServiceError
from kdguard.service.api.app import create_app, open_service
from kdguard.service.api.connections import TimedConnection
from kdguard.service.api.settings import Settings, is_loopback
from kdguard.service.out.logs import set_up
from kdguard.service.store import trail
from kdguard.service.store.api_keys import SCOPES, any_key, make_key
from kdguard.service.store.database import Database
from kdguard.service.store.secrets import open_secrets
from kdguard.service.teacher import listen

DEFAULT_TENANT = "default"
DRAIN_S = 6
_KEEP_ALIVE_S = 5
_MOST_CONNECTIONS = 2_048


def serve(settings: Settings) -> tuple[str | None, uvicorn.Server, socket.socket]:
    """Prepare a server.

    Returns:
        The first API key, if this made it; the server; and its listening socket, for `run(sockets=[...])`.

    Raises:
        ServiceError: The address can be reached from outside and there is no key yet.
        TeacherError: The address cannot be listened on.
    """
    key = first_key(settings)
    listening = listen(settings.host, settings.port)
    set_up()
    config = uvicorn.Config(
        create_app(settings),
        http=TimedConnection,
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=DRAIN_S,
        timeout_keep_alive=_KEEP_ALIVE_S,
        limit_concurrency=_MOST_CONNECTIONS,
    )
    return key, uvicorn.Server(config), listening


def first_key(settings: Settings) -> str | None:
    """Make a key for everything where there is none, for a service that only this machine can reach.

    Raises:
        ServiceError: Others can reach it.
    """
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    secrets, database = open_secrets(settings.master_key), Database(settings.database)
    database.migrate()
    try:
        with database.read() as connection:
            if any_key(connection):
                return None
        if not is_loopback(settings.host):
            raise ServiceError(
                f"{settings.host} can be reached from outside: make a key first, with 'kdguard keys make'"
            )
        with database.write() as connection:
            key, made = make_key(connection, secrets, tenant=DEFAULT_TENANT, name="first", scopes=SCOPES)
            trail.record(connection, DEFAULT_TENANT, actor="system", action="key.make", subject=made.id)
        return key
    finally:
        database.close()


def work(settings: Settings) -> None:
    """Score until SIGTERM or SIGINT, beside a service that does not score itself."""
    set_up()
    service = open_service(settings.model_copy(update={"scores": True}))
    ending = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ending.set())
    assert service.worker is not None
    service.worker.start()
    ending.wait()
    service.worker.stop()
    service.gateway.close()
    service.database.close()
