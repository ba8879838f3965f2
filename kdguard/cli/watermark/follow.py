"""`kdguard watermark follow`: bet on a suspect's answers batch by batch, and stop when the mark is proven."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import orjson
import typer

from kdguard.cli.watermark import options
from kdguard.cli.watermark.options import Named
from kdguard.errors import WatermarkError

if TYPE_CHECKING:
    from kdguard.detectors.watermark.radioactivity.sequential import Wealth
    from kdguard.detectors.watermark.windows import Texts


def follow(
    answers: Annotated[
        list[Path], typer.Argument(help="Files of the suspect's answers, in the order they came.")
    ],
    mark: options.MarkFile = None,
    scheme: options.Scheme = None,
    parameter: options.Parameters = None,
    key_file: options.KeyFile = None,
    keys: options.Keys = None,
    epoch: options.Epoch = None,
    account: options.Accounts = None,
    ledger: options.LedgerFolder = None,
    tokenizer: options.Tokenizer = None,
    column: options.Column = None,
    prompt_column: options.PromptColumn = None,
    batch: Annotated[int, typer.Option(min=1, help="Answers that are bet on together.")] = 50,
    alpha: options.Alpha = 1e-6,
    case: options.CaseFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One batch a line, a summary last.")] = False,
) -> None:
    """Look after every batch of answers, and stop asking as soon as the mark is proven: looking often costs nothing.

    Give all files again when more answers have come. Wealth above 1/alpha rejects the null hypothesis at alpha,
    whenever that happens; it may be smaller later. Finding nothing proves nothing.
    Exit status: 0 not proven yet, 1 mark detected, 2 bad usage or input.
    """
    from kdguard.cli.watermark.cases import write_mark_case
    from kdguard.detectors.watermark.claims import rows_of
    from kdguard.detectors.watermark.detect import prompt_identities
    from kdguard.detectors.watermark.radioactivity.sequential import Wealth, wealth_evidence

    named = Named(mark, scheme, parameter, key_file, keys, epoch, account, ledger)
    work = options.opened(named, tokenizer)
    read = work.read(answers, column, prompt_column, None)
    copied = None if read.prompts is None else prompt_identities(work.mark.scheme, read.prompts)
    if len(work.asked) > 1:
        raise WatermarkError("bets are on one key: follow one --account after another")
    (asked,) = work.asked
    state, bets = Wealth(work.mark.scheme, asked.key), []
    for begin in range(0, len(read.texts.starts) - 1, batch):
        texts = _batch(read.texts, begin, batch)
        bets.append(rows_of(state.fresh(texts, copied)[0]))
        state = state.after(texts, copied)
        _tell(state, begin + len(texts.starts) - 1, as_json)
        if state.proven(alpha):
            break
    evidence = wealth_evidence(state, "suspect", committed=asked.committed)
    if case and state.proven(alpha):
        write_mark_case(case, "watermark.wealth", work, {"subject": "suspect", "batches": bets}, answers)
    _conclude(evidence, state.proven(alpha), alpha, as_json)
    raise typer.Exit(int(state.proven(alpha)))


def _batch(texts: Texts, begin: int, size: int) -> Texts:
    ends = texts.starts[begin : begin + size + 1]
    return type(texts)(texts.token_ids[ends[0] : ends[-1]], ends - ends[0])


def _tell(state: Wealth, answers: int, as_json: bool) -> None:
    if as_json:
        row = {"answers": answers, "scored": state.scored, "log10_e": round(state.log10_e, 4)}
        typer.echo(orjson.dumps(row).decode())
    else:
        typer.echo(f"{answers} answers, {state.scored} tokens: wealth 10^{state.log10_e:.2f}")


def _conclude(evidence: Any, proven: bool, alpha: float, as_json: bool) -> None:
    from dataclasses import asdict

    from kdguard.detectors.watermark.verdict import NO_EVIDENCE

    decision = "detected" if proven else "not_detected"
    if as_json:
        summary = {"decision": decision, "alpha": alpha, "note": None if proven else NO_EVIDENCE}
        typer.echo(orjson.dumps({"summary": summary | asdict(evidence)}).decode())
        return
    told = getattr(evidence, "summary", None) or evidence.reason
    typer.echo(f"{'mark detected' if proven else f'not detected: {NO_EVIDENCE}'}\n  {told}")
