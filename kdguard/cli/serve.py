"""`kdguard serve` and `kdguard worker`: the scoring service."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from kdguard.service.api.settings import Settings

Data = Annotated[
    Path | None,
    typer.Option(help="Folder of the service's data; KDGUARD_SERVICE_DATA or kdguard-data.", file_okay=False),
]


def serve(
    data: Data = None,
    host: Annotated[
        str | None, typer.Option(help="Address to listen on; others than loopback need a key to exist.")
    ] = None,
    port: Annotated[int | None, typer.Option(help="0 takes a free one.", min=0, max=65535)] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file of the gateway.", exists=True)] = None,
    enforce: Annotated[
        bool, typer.Option("--enforce", help="Apply decisions instead of only recording.")
    ] = False,
    split: Annotated[bool, typer.Option("--split", help="Leave scoring to 'kdguard worker'.")] = False,
) -> None:
    """Serve: exchanges in; verdicts, evidence and decisions out. Everything else is set by KDGUARD_SERVICE_ variables.

    Exit status: 2 bad usage, settings or address; 130 and 143 after SIGINT and SIGTERM, once requests under way
    are answered, within ten seconds.
    """
    from kdguard.service.api import running

    told = {"data": data, "host": host, "port": port, "policy": policy}
    settings = settings_from({name: value for name, value in told.items() if value is not None})
    settings = settings.model_copy(
        update={"dry_run": settings.dry_run and not enforce, "scores": settings.scores and not split}
    )
    key, server, listening = running.serve(settings)
    with listening:
        place = f"[{settings.host}]" if ":" in settings.host else settings.host
        url = f"http://{place}:{listening.getsockname()[1]}"
        typer.echo(f"kdguard on {url} (pages for analysts: {url}/pages)", err=True)
        if key is not None:
            typer.echo(f"the first API key, for everything, shown only now: {key}", err=True)
        server.run(sockets=[listening])


def worker(data: Data = None) -> None:
    """Score for a service that was started with --split, on the same data folder and database.

    Exit status: 2 bad settings; 0 after SIGTERM or SIGINT.
    """
    from kdguard.service.api import running

    running.work(settings_from({} if data is None else {"data": data}))


def settings_from(told: dict[str, object]) -> Settings:
    """Settings from the environment, and what the command line told.

    Raises:
        ServiceError: A setting is not as it must be.
    """
    from pydantic import ValidationError

    from kdguard.errors import ServiceError
    from kdguard.service.api.settings import Settings

    try:
        return Settings.model_validate(Settings(**told).model_dump())  # type: ignore[arg-type]
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"]) or "settings"
        raise ServiceError(f"setting {name}: {first['msg']}") from error
