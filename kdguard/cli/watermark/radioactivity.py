"""`kdguard watermark radioactivity`: has a model learnt from text that bears a key's mark?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def radioactivity(
    suspect: Annotated[
        list[Path], typer.Argument(help="What the suspect wrote; with weights, what it is to read.")
    ],
    clean: Annotated[
        list[Path],
        typer.Option(help="What models wrote that saw no mark, or their folders with weights; repeat it."),
    ],
    suspect_weights: Annotated[
        Path | None,
        typer.Option(help="The suspect's folder, where its weights are at hand.", file_okay=False),
    ] = None,
    mark: Annotated[Path | None, typer.Option(help="The mark's public description, JSON.")] = None,
    scheme: Annotated[str | None, typer.Option(help="In place of --mark, e.g. green-siphash.")] = None,
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
        str | None, typer.Option(help="Column of prompts; windows they hold do not count.")
    ] = None,
    by: Annotated[str | None, typer.Option(help="Column that tells suspects apart; else all is one.")] = None,
    known: Annotated[
        Path | None, typer.Option(help="Text the suspect was served, if known: only its windows count.")
    ] = None,
    gate_bits: Annotated[
        float, typer.Option(min=0, help="Least entropy of the clean models after a window.")
    ] = 1.0,
    decoys: Annotated[int, typer.Option(min=0, help="Decoy keys that guard the p-value.")] = 999,
    alpha: Annotated[float, typer.Option(min=0, max=1, help="Chance of any false detection.")] = 1e-6,
    as_json: Annotated[
        bool, typer.Option("--json", help="One suspect a line on stdout, a summary last.")
    ] = False,
) -> None:
    """Test whether suspects lean to a key's tokens more than clean models do, beside the plain test of their text.

    Ask suspects with prompts that bear no mark. A detection proves contact with marked text, not who took it or why;
    finding nothing proves nothing: paraphrase, filtering and targeted removal wash marks out.
    Exit status: 0 nothing detected, 1 detected, 2 bad usage or input.
    """
    from kdguard.cli.watermark.keys import key_of, mark_of
    from kdguard.cli.watermark.telling import tell
    from kdguard.detectors.watermark.radioactivity.suspects import Guard, closed_tests, open_test
    from kdguard.detectors.watermark.radioactivity.weights import Gate
    from kdguard.detectors.watermark.reading import Columns, load_tokenizer, read_texts

    told = mark_of(mark, scheme, parameter or [])
    asked = key_of(told, key_file=key_file, keys=keys, account=account, epoch=epoch, ledger=ledger)
    maker = load_tokenizer(tokenizer) if tokenizer is not None else None
    read = read_texts(suspect, Columns(column, prompt_column, by), maker, told)
    for note in read.notes:
        typer.echo(note, err=True)
    guard = Guard(Gate(bits=gate_bits), decoys, asked.committed)
    if suspect_weights is not None:
        found = open_test(told.scheme, asked.key, read, suspect_weights, clean, guard)
    else:
        reference = read_texts(clean, Columns(column), maker, told).texts
        served = None if known is None else read_texts([known], Columns(column), maker, told).texts
        found = closed_tests(told.scheme, asked.key, read, reference, guard, known=served)
    raise typer.Exit(int(tell(found, alpha=alpha, as_json=as_json)))
