"""`kdguard watermark radioactivity`: has a model learnt from text that bears a key's mark?"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kdguard.cli.watermark import options
from kdguard.cli.watermark.options import Named, Opened

if TYPE_CHECKING:
    from kdguard.detectors.watermark.radioactivity.suspects import Contrast


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
    mark: options.MarkFile = None,
    scheme: options.Scheme = None,
    parameter: options.Parameters = None,
    key_file: options.KeyFile = None,
    keys: options.Keys = None,
    epoch: options.Epoch = None,
    account: options.Accounts = None,
    accounts: options.AccountsFile = None,
    ledger: options.LedgerFolder = None,
    tokenizer: options.Tokenizer = None,
    column: options.Column = None,
    prompt_column: options.PromptColumn = None,
    by: options.By = None,
    known: Annotated[
        Path | None, typer.Option(help="Text the suspect was served, if known: only its windows count.")
    ] = None,
    gate_bits: Annotated[
        float, typer.Option(min=0, help="Least entropy of the clean models after a window.")
    ] = 1.0,
    decoys: options.DecoyCount = 999,
    alpha: options.Alpha = 1e-6,
    case: options.CaseFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Test whether suspects lean to a key's tokens more than clean models do.

    Ask suspects with prompts that bear no mark. A detection proves contact with marked text, not who took it or why;
    finding nothing proves nothing: paraphrase, filtering and targeted removal wash marks out.
    Exit status: 0 nothing detected, 1 detected, 2 bad usage or input.
    """
    from kdguard.cli.watermark.cases import write_mark_case
    from kdguard.cli.watermark.telling import tell
    from kdguard.detectors.watermark.lines import detected_in
    from kdguard.detectors.watermark.radioactivity.suspects import contrast_statistics, judge

    named = Named(mark, scheme, parameter, key_file, keys, epoch, account, ledger, accounts)
    work = options.opened(named, tokenizer)
    contrasts = _contrasts(
        work, suspect, clean, suspect_weights, known, gate_bits, (column, prompt_column, by)
    )
    found = [
        verdict
        for asked in work.asked
        for verdict in judge(work.mark.scheme, asked.key, contrasts, decoys, committed=asked.committed)
    ]
    if case and (detected := detected_in(found, alpha)):
        statistics = contrast_statistics(contrasts, [one.subject for one in detected], decoys)
        files = [*suspect, *clean, *([known] if known else [])]
        write_mark_case(case, "watermark.radioactivity", work.of(detected), statistics, files)
    raise typer.Exit(int(tell(found, alpha=alpha, as_json=as_json)))


def _contrasts(
    work: Opened,
    suspect: list[Path],
    clean: list[Path],
    weights: Path | None,
    known: Path | None,
    gate_bits: float,
    columns: tuple[str | None, str | None, str | None],
) -> Mapping[str, Contrast]:
    """What suspects say more or less often than clean models, from text or from weights."""
    from kdguard.detectors.watermark.radioactivity.suspects import closed_contrasts, open_contrast_of
    from kdguard.detectors.watermark.radioactivity.weights import Gate

    read, gate = work.read(suspect, *columns), Gate(bits=gate_bits)
    if weights is not None:
        return open_contrast_of(work.mark.scheme, read, weights, clean, gate)
    column = columns[0]
    reference = work.read(clean, column, None, None).texts
    served = None if known is None else work.read([known], column, None, None).texts
    return closed_contrasts(work.mark.scheme, read, reference, gate, known=served)
