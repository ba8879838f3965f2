"""`kdguard watermark detect`: does text bear a key's mark?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kdguard.cli.watermark import options
from kdguard.cli.watermark.options import Named


def detect(
    texts: Annotated[list[Path], typer.Argument(help="Parquet, JSON lines, CSV or .txt: token ids or text.")],
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
    decoys: options.DecoyCount = 999,
    alpha: options.Alpha = 1e-6,
    case: options.CaseFile = None,
    as_json: options.AsJson = False,
) -> None:
    """Test whether texts bear the mark of a key, with an exact p-value that decoy keys must back.

    Where accounts have keys of their own, each key asked is held against the texts: an account is named at --alpha
    over all accounts that the mark was committed for.

    A detection proves contact with text marked by the key, not who took it or why. Finding nothing proves nothing.
    A case holds the scored windows as numbers of tokens: whoever has the tokenizer can read them.
    Exit status: 0 no mark detected, 1 detected, 2 bad usage or input.
    """
    from kdguard.cli.watermark.cases import write_mark_case
    from kdguard.cli.watermark.telling import tell
    from kdguard.detectors.watermark.claims import text_statistics
    from kdguard.detectors.watermark.detect import judge, what_counts
    from kdguard.detectors.watermark.lines import detected_in

    named = Named(mark, scheme, parameter, key_file, keys, epoch, account, ledger, accounts)
    work = options.opened(named, tokenizer)
    read = work.read(texts, column, prompt_column, by)
    kept = what_counts(
        work.mark.scheme, read.texts, subjects=read.subjects, count=len(read.names), prompts=read.prompts
    )
    found = [
        verdict
        for asked in work.asked
        for verdict in judge(
            work.mark.scheme, asked.key, kept, names=read.names, decoys=decoys, committed=asked.committed
        )
    ]
    if case and (detected := detected_in(found, alpha)):
        subjects = list(dict.fromkeys(one.subject for one in detected))
        statistics = text_statistics(kept, read.names, subjects, decoys)
        write_mark_case(case, "watermark.text", work.of(detected), statistics, texts)
    raise typer.Exit(int(tell(found, alpha=alpha, as_json=as_json)))
