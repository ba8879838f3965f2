"""`kdguard watermark detect`: does text bear a key's mark?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def detect(
    texts: Annotated[list[Path], typer.Argument(help="Parquet, JSON lines, CSV or .txt: token ids or text.")],
    mark: Annotated[Path | None, typer.Option(help="The mark's public description, JSON.")] = None,
    scheme: Annotated[str | None, typer.Option(help="In place of --mark, e.g. gumbel-philox.")] = None,
    parameter: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER of the scheme; repeat it.")] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="Key of other software: whole numbers, mode 0600.")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="Key store; else KDGUARD_KEYS.", metavar="DIR")] = None,
    epoch: Annotated[str | None, typer.Option(help="Epoch of a key in the key store, e.g. 2026-11.")] = None,
    account: Annotated[str, typer.Option(help="Account of that key; empty for one key for all.")] = "",
    ledger: Annotated[
        Path | None, typer.Option(help="Ledger that the key was committed in.", metavar="DIR")
    ] = None,
    tokenizer: Annotated[
        Path | None, typer.Option(help="The teacher's tokenizer.json or its folder, for text.")
    ] = None,
    column: Annotated[str | None, typer.Option(help="Column of token ids or text.")] = None,
    prompt_column: Annotated[
        str | None, typer.Option(help="Column of prompts; what they hold is not scored.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Column that tells subjects apart; else all is one.")] = None,
    decoys: Annotated[int, typer.Option(min=0, help="Decoy keys that guard the p-value.")] = 999,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Chance of any false detection.")] = 1e-6,
    as_json: Annotated[
        bool, typer.Option("--json", help="One subject a line on stdout, a summary last.")
    ] = False,
) -> None:
    """Test whether texts bear the mark of a key, with an exact p-value that decoy keys must back.

    A detection proves contact with text marked by the key, not who took it or why. Finding nothing proves nothing.
    Exit status: 0 no mark detected, 1 detected, 2 bad usage or input.
    """
    from kdguard.cli.watermark.keys import key_of, mark_of
    from kdguard.cli.watermark.telling import tell
    from kdguard.detectors.watermark.detect import detect as look
    from kdguard.detectors.watermark.reading import Columns, load_tokenizer, read_texts

    told = mark_of(mark, scheme, parameter or [])
    asked = key_of(told, key_file=key_file, keys=keys, account=account, epoch=epoch, ledger=ledger)
    maker = load_tokenizer(tokenizer) if tokenizer is not None else None
    read = read_texts(texts, Columns(column, prompt_column, by), maker, told)
    for note in read.notes:
        typer.echo(note, err=True)
    found = look(
        told.scheme,
        asked.key,
        read.texts,
        names=read.names,
        subjects=read.subjects,
        prompts=read.prompts,
        decoys=decoys,
        committed=asked.committed,
    )
    raise typer.Exit(int(tell(found, alpha=alpha, as_json=as_json)))
