"""`kdguard keys`: API keys of the scoring service, from the machine it runs on."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from kdguard.cli.serve import Data, settings_from

if TYPE_CHECKING:
    from kdguard.service.store.database import Database
    from kdguard.service.store.secrets import Secrets

app = typer.Typer(help="API keys of the scoring service.", no_args_is_help=True)
Tenant = Annotated[str, typer.Option(help="Whose data the key opens; made if absent.")]


@app.command()
def make(
    name: Annotated[str, typer.Argument(help="What the key is for.")],
    scope: Annotated[list[str], typer.Option(help="ingest, read, decide, audit or admin; repeatable.")],
    tenant: Tenant = "default",
    days: Annotated[int | None, typer.Option(help="Days until it expires.", min=1)] = None,
    requests_per_minute: Annotated[int | None, typer.Option(help="Its own limit.", min=1)] = None,
    data: Data = None,
) -> None:
    """Make a key and print it; what is kept is a keyed digest.

    Exit status: 0 done, 2 bad usage or settings.
    """
    from kdguard.service.store import api_keys, trail

    expires_us = None if days is None else (time.time_ns() // 1_000) + days * 86_400_000_000
    secrets, database = _opened(data)
    with database.write() as connection:
        key, made = api_keys.make_key(
            connection,
            secrets,
            tenant=tenant,
            name=name,
            scopes=scope,
            expires_us=expires_us,
            requests_per_minute=requests_per_minute,
        )
        trail.record(connection, tenant, actor="command line", action="key.make", subject=made.id)
    typer.echo(key)


@app.command("list")
def listed(tenant: Tenant = "default", data: Data = None) -> None:
    """List a tenant's keys: id, name, scopes, whether usable."""
    from kdguard.service.store import api_keys

    _, database = _opened(data)
    with database.read() as connection:
        for key in api_keys.keys_of(connection, tenant):
            usable = "usable" if key.usable(api_keys.now_us()) else "ended"
            typer.echo(f"{key.id}\t{key.name}\t{','.join(sorted(key.scopes))}\t{usable}")


@app.command()
def end(
    key_id: Annotated[str, typer.Argument(help="Id of the key.")],
    tenant: Tenant = "default",
    data: Data = None,
) -> None:
    """End a key now; a running service may believe it for two seconds more.

    Exit status: 0 done, 2 there is no such key.
    """
    from kdguard.errors import ServiceError
    from kdguard.service.store import api_keys, trail

    _, database = _opened(data)
    with database.write() as connection:
        if not api_keys.end_key(connection, tenant, key_id, api_keys.now_us()):
            raise ServiceError(f"tenant {tenant} has no key {key_id}")
        trail.record(connection, tenant, actor="command line", action="key.end", subject=key_id)


def _opened(data: object) -> tuple[Secrets, Database]:
    from kdguard.service.store.database import Database
    from kdguard.service.store.secrets import open_secrets

    settings = settings_from({} if data is None else {"data": data})
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    database = Database(settings.database)
    database.migrate()
    return open_secrets(settings.master_key), database
