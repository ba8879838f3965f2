"""`kdguard teacher`: a model behind an OpenAI-compatible server, and the keys of its accounts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="Serve a model as the teacher of a simulated attack.", no_args_is_help=True)
Limit = Annotated[float | None, typer.Option(help="Requests a minute of each account.", min=0.01)]


@app.command()
def serve(
    model: Annotated[
        Path, typer.Argument(help="Folder of a causal language model.", exists=True, file_okay=False)
    ],
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than loopback need --keys.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 takes a free one.", min=0, max=65535)] = 8000,
    keys: Annotated[
        Path | None, typer.Option(help="Accounts, see 'kdguard teacher key'.", exists=True)
    ] = None,
    log: Annotated[Path | None, typer.Option(help="Log exchanges to this file of JSON lines.")] = None,
    stored: Annotated[Path | None, typer.Option(help="Keep stored completions in this file.")] = None,
    requests_per_minute: Limit = None,
    max_tokens: Annotated[int, typer.Option(help="Most tokens of a choice.", min=1)] = 1024,
    trust_forwarded: Annotated[bool, typer.Option(help="Log the address in X-Forwarded-For.")] = False,
    name: Annotated[str | None, typer.Option(help="Name of the model; the folder's by default.")] = None,
    rows: Annotated[int, typer.Option(help="Sequences decoded at once.", min=1)] = 64,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    biased_logprobs: Annotated[bool, typer.Option(help="Let logit_bias show in log-probabilities.")] = False,
    mark: Annotated[Path | None, typer.Option(help="Watermark to write: its description, JSON.")] = None,
    delta: Annotated[float, typer.Option(help="What the watermark adds to green tokens' log-odds.")] = 2.0,
    epoch: Annotated[str | None, typer.Option(help="Epoch of the watermark's key.")] = None,
    canaries: Annotated[Path | None, typer.Option(help="What 'canary plan' wrote: place them.")] = None,
    twins: Annotated[Path | None, typer.Option(help="What 'twins plan' wrote: release these.")] = None,
    mark_keys: Annotated[
        Path | None, typer.Option(help="Key store of the marks; else KDGUARD_KEYS.", metavar="DIR")
    ] = None,
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger that the watermark's key is committed in.", metavar="DIR")
    ] = None,
) -> None:
    """Serve a local model; any OpenAI client can talk to it.

    Marks go to the accounts of --keys. An answer with canaries or released twins comes whole, not as a stream.

    Exit status: 2 bad usage, or an unusable model, file or address; 130 and 143 after SIGINT and SIGTERM, once the
    requests under way are answered.
    """
    from kdguard.distill.teachers.permission import is_loopback

    if not is_loopback(host) and keys is None:
        raise typer.BadParameter(f"{host} can be reached from outside: give --keys FILE", param_hint="--host")
    from kdguard.cli.teacher_marks import MarkOptions, marked_teacher
    from kdguard.service.teacher import TeacherSettings, create_teacher_app, listen, server_of

    settings = TeacherSettings(
        keys=keys,
        log=log,
        stored=stored,
        requests_per_minute=requests_per_minute,
        most_tokens=max_tokens,
        trusts_forwarded=trust_forwarded,
    )
    with listen(host, port) as listening:
        told = "biased" if biased_logprobs else "model"
        marks = MarkOptions(mark, delta, epoch, canaries, twins, mark_keys, ledger, keys)
        teacher = marked_teacher(model, marks, name=name, rows=rows, device=device, logprobs_of=told)
        served = create_teacher_app(teacher, settings)
        place = f"[{host}]" if ":" in host else host
        typer.echo(f"{teacher.name} on http://{place}:{listening.getsockname()[1]}/v1", err=True)
        server_of(served).run(sockets=[listening])


@app.command()
def key(
    keys: Annotated[Path, typer.Argument(help="File of accounts; made if absent.", dir_okay=False)],
    account: Annotated[str, typer.Argument(help="Account id.")],
    org: Annotated[str | None, typer.Option(help="Organisation of the account.")] = None,
    requests_per_minute: Limit = None,
) -> None:
    """Make a key for an account and print it; the file keeps only its hash.

    Exit status: 0 done, 2 bad usage or a damaged file.
    """
    from kdguard.service.accounts import add_account

    typer.echo(add_account(keys, account, org_id=org, requests_per_minute=requests_per_minute))
