"""Options that the watermark commands share, and what follows from them: a mark, its key, texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

if TYPE_CHECKING:
    from kdguard.cli.watermark.keys import Asked
    from kdguard.detectors.watermark.mark import Mark
    from kdguard.detectors.watermark.reading import Read
    from kdguard.detectors.watermark.verdict import Verdict

MarkFile = Annotated[
    Path | None, typer.Option("--mark", help="The mark's public description, JSON.", dir_okay=False)
]
Scheme = Annotated[str | None, typer.Option("--scheme", help="In place of --mark, e.g. gumbel-philox.")]
Parameters = Annotated[
    list[str] | None, typer.Option("--parameter", help="NAME=NUMBER of the scheme; repeat it.")
]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", help="Key of other software: whole numbers, mode 0600.")
]
Keys = Annotated[
    Path | None, typer.Option("--keys", help="Key store; else KDGUARD_KEYS.", metavar="DIR", file_okay=False)
]
Epoch = Annotated[str | None, typer.Option("--epoch", help="Epoch of a key in the key store, e.g. 2026-11.")]
Accounts = Annotated[
    list[str] | None,
    typer.Option("--account", help="Account whose key it is; repeat it. None: one key for all."),
]
AccountsFile = Annotated[
    Path | None,
    typer.Option("--accounts", help="Table with `account_id`: hold the key of each against the texts."),
]
LedgerFolder = Annotated[
    Path | None,
    typer.Option("--ledger", help="Ledger that the key was committed in.", metavar="DIR", file_okay=False),
]
Tokenizer = Annotated[
    Path | None, typer.Option("--tokenizer", help="The teacher's tokenizer.json or its folder, for text.")
]
Column = Annotated[str | None, typer.Option("--column", help="Column of token ids or text.")]
PromptColumn = Annotated[
    str | None, typer.Option("--prompt-column", help="Column of prompts; what they hold does not count.")
]
By = Annotated[str | None, typer.Option("--by", help="Column that tells subjects apart; else all is one.")]
DecoyCount = Annotated[int, typer.Option("--decoys", min=0, help="Decoy keys that guard the p-value.")]
Alpha = Annotated[float, typer.Option("--alpha", min=0, max=1, help="Chance of any false detection.")]
CaseFile = Annotated[
    Path | None, typer.Option("--case", help="Write a case for 'audit sign'.", dir_okay=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="One subject a line on stdout, a summary last.")]


class Named(NamedTuple):
    """The options by which a mark and a key are named; see `keys`."""

    mark: Path | None
    scheme: str | None
    parameters: list[str] | None
    key_file: Path | None
    keys: Path | None
    epoch: str | None
    accounts: list[str] | None
    ledger: Path | None
    accounts_file: Path | None = None


class Opened(NamedTuple):
    """What a command works on.

    Attributes:
        mark: The mark.
        asked: Its keys: one for all, or one an account.
        maker: The tokenizer that makes ids of text, or None.
    """

    mark: Mark
    asked: tuple[Asked, ...]
    maker: Any | None

    def of(self, detected: Sequence[Verdict]) -> Opened:
        """The same with the keys alone that some verdicts are about."""
        accounts = {one.account for one in detected}
        return self._replace(asked=tuple(asked for asked in self.asked if asked.key.account in accounts))

    def read(self, paths: Sequence[Path], column: str | None, prompt: str | None, by: str | None) -> Read:
        """Read texts, and say on stderr how.

        Raises:
            WatermarkError: They cannot be read.
        """
        from kdguard.detectors.watermark.reading import Columns, read_texts

        read = read_texts(paths, Columns(column, prompt, by), self.maker, self.mark)
        for note in read.notes:
            typer.echo(note, err=True)
        return read


def opened(named: Named, tokenizer: Path | None) -> Opened:
    """Open mark, key and tokenizer.

    Raises:
        InputError: One of them is missing or cannot be used.
    """
    from kdguard.cli.watermark.keys import keys_of, mark_of
    from kdguard.detectors.watermark.reading import load_tokenizer

    mark = mark_of(named)
    maker = load_tokenizer(tokenizer) if tokenizer is not None else None
    return Opened(mark, keys_of(mark, named), maker)
