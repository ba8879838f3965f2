"""`kdguard lineage served`: which account's answers did a suspect learn from?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import orjson
import typer

from kdguard.cli.lineage.options import level_of_test
from kdguard.errors import LineageError

if TYPE_CHECKING:
    from kdguard.detectors.fingerprint.served import AccountFound, Served, Settings


def served(
    texts: Annotated[
        Path,
        typer.Option(help="Exchanges, or text_id, account (null: nobody), tokens, stratum.", exists=True),
    ],
    suspect: Annotated[str, typer.Option(help="Model to test.")],
    likelihoods: Annotated[
        Path | None,
        typer.Option(help="Table model, text_id, logprob; 'lineage read' writes it.", exists=True),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(
            help="Where no log-probabilities are to be had: table model, prompt_id or prompt, response.",
            exists=True,
        ),
    ] = None,
    account: Annotated[
        list[str] | None,
        typer.Option(help="Account named beforehand; repeat it and they are tested together, as one."),
    ] = None,
    clean: Annotated[
        list[str] | None, typer.Option(help="Model that never saw these answers; repeatable.")
    ] = None,
    drawn: Annotated[
        bool, typer.Option("--drawn", help="Chance decided beforehand what was served to whom.")
    ] = False,
    deals: Annotated[int, typer.Option(min=1, help="The floor of p is 1 / (this + 1).")] = 9_999,
    seed: Annotated[int, typer.Option(min=0, help="Of the random deals.")] = 0,
    alpha: Annotated[
        float,
        typer.Option(callback=level_of_test, min=0, max=1, help="Chance of naming any innocent account."),
    ] = 0.01,
    case: Annotated[Path | None, typer.Option(help="Write a case for 'audit sign'.", dir_okay=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object an account.")] = False,
) -> None:
    """Rank accounts by how much a suspect prefers what they were served to exchangeable answers that they were not.

    By the likelihoods it gives them, or by how it words its own answers to the same prompts, which tells less.
    Exit status: 0 no account named, 1 named, 2 bad usage or input.
    """
    from kdguard.detectors.fingerprint.served import Settings, rank_accounts

    read = likelihoods or answers
    if read is None or (likelihoods and answers):
        raise LineageError("give --likelihoods, or --answers where there are none: one kind of reading")
    settings = Settings(seed=seed, deals=deals, drawn=drawn, alpha=alpha)
    table = _table(texts, read, suspect, clean or (), by_wording=answers is not None)
    if account:
        table = table.together(account)
    found = rank_accounts(table, suspect, settings)
    for one in found:
        typer.echo(orjson.dumps(one.to_json(suspect, alpha)).decode() if as_json else _told(one, len(found)))
    if case:
        _write_case(table, suspect, settings, [texts, read], case)
    raise typer.Exit(int(any(one.p_adjusted is not None and one.p_adjusted <= alpha for one in found)))


def _table(texts: Path, read: Path, suspect: str, clean: Sequence[str], *, by_wording: bool) -> Served:
    from kdguard.detectors.fingerprint.served import read_served, served_by_wording
    from kdguard.lineage.tables import read_numbers

    if by_wording:
        return served_by_wording(read_numbers(texts), read_numbers(read), suspect, clean)
    return read_served(texts, read, suspect, clean)


def _told(one: AccountFound, accounts: int) -> str:
    """One line on an account."""
    if one.evidence is None:
        return f"{one.account}: {one.reason}"
    p_value = f"p = {one.evidence.p_value:.3g}, {one.p_adjusted:.3g} among {accounts} accounts"
    return f"{one.account}: {p_value}; {one.evidence.summary}; {one.reason}"


def _write_case(table: Served, suspect: str, settings: Settings, inputs: Sequence[Path], case: Path) -> None:
    from dataclasses import asdict

    from kdguard.cli.lineage.cases import write
    from kdguard.detectors.fingerprint.served.claims import NAME, VERSION, statistics_of

    write((NAME, VERSION), (statistics_of(table, suspect), asdict(settings)), inputs, case)
